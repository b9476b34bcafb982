// SPDX-License-Identifier: Apache-2.0
//! What operators see: API, health, metrics, logs, TLS, keys.
