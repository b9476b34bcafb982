// SPDX-License-Identifier: Apache-2.0
//! HLS as ffprobe and a strict client read it.
