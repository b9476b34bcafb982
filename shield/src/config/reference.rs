// SPDX-License-Identifier: Apache-2.0
//! The example file and the reference page of the shield's configuration.

use headwater_net::config::reference;

use super::Config;

/// `headwater.shield.example.toml`: every key with its default and what it is for.
pub fn example() -> String {
    reference::example::<Config>(
        "The configuration of Headwater's shield: every key with its default. Unknown keys are errors.",
        "For `headwater shield --config FILE`; the same keys stand under [shield] in the file of `headwater serve`, which \
         then runs a shield in front of its own origin. Variables override what stands here \
         (HEADWATER_SHIELD__CACHE__MEMORY_BYTES_MAX for memory_bytes_max of [cache]), flags override both; \
         `headwater shield --check-config` says whether all is well, SIGHUP or the API puts changes in force. Written by \
         `make reference`.",
    )
}

/// The reference page of the configuration.
pub fn page() -> String {
    reference::page::<Config>(
        "# Configuration of the shield\n\n<!-- Written by `make reference` from the comments in shield/src/config.rs. -->\n\n\
         One TOML file, `headwater shield --config FILE`; \
         [headwater.shield.example.toml](../../headwater.shield.example.toml) is the same as a file. In the file of \
         `headwater serve` the same keys stand under `[shield]`: `[shield.cache]`, `[shield.routes.live]`.\n\n\
         A variable overrides the file, by the same name in both cases: `HEADWATER_SHIELD__LISTEN`, \
         `HEADWATER_SHIELD__CACHE__MEMORY_BYTES_MAX`, `HEADWATER_SHIELD__UPSTREAMS__MAIN__ORIGINS=one,two`. A flag overrides \
         both. A key or a variable that is none ends the start with its line or name and the nearest that there is.\n",
    )
}
