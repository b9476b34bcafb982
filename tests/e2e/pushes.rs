// SPDX-License-Identifier: Apache-2.0
//! Every form of push that a real ffmpeg makes.
