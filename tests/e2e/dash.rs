// SPDX-License-Identifier: Apache-2.0
//! DASH as ffmpeg reads it.
