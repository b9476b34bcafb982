// SPDX-License-Identifier: Apache-2.0
//! hls.js, dash.js and shaka in headless Chromium.
