// SPDX-License-Identifier: Apache-2.0
//! Two origins fed the same push write the same bytes.
