// SPDX-License-Identifier: Apache-2.0
//! `headwater reference`: writes the pages that follow from the code, and the example configuration. `make reference`
//! runs it; a test fails where the committed copy is another.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};
use headwater_events::schema;
use headwater_origin::{config, http, metrics};
use headwater_shield as shield;

use crate::check;
use crate::command::Headwater;
use crate::follow;

/// Where to write.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Root of the project
    #[arg(value_name = "DIR", default_value = ".")]
    root: PathBuf,
}

/// Writes every file.
///
/// # Errors
/// If one cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    for (path, text) in files() {
        let path = options.root.join(path);
        follow::schema::write(&path, &text)?;
    }
    Ok(())
}

/// What the origin's file may say beside the origin.
const SHIELD: &str = "\n# A shield before this origin, in this process; its keys are in headwater.shield.example.toml.\n\
                      # [shield]\n# Where edges connect; HTTP/1.1 and HTTP/2 on one port.\n# listen = \"0.0.0.0:8081\"\n";

/// Every file below the root and its text.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = [
        ("headwater.example.toml", config::reference::example() + SHIELD),
        ("headwater.shield.example.toml", shield::config::reference::example()),
        ("docs/reference/api.md", http::api::page()),
        ("docs/reference/cli.md", page()),
        ("docs/reference/configuration.md", config::reference::page()),
        ("docs/reference/shield-configuration.md", shield::config::reference::page()),
        ("docs/reference/events.md", schema::page()),
        ("docs/reference/metrics.md", metrics::page() + &shield::metrics::page() + &headwater_events::metrics::page()),
        ("docs/reference/rules.md", check::reference()),
        ("docs/reference/shield-api.md", shield::admin::page()),
        ("docs/reference/shield-openapi.json", shield::admin::document().to_owned()),
        ("docs/reference/openapi.json", http::api::document().to_owned()),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text))
    .collect();
    files.extend(follow::schema::files("docs/reference"));
    files
}

/// The reference page of the command line.
fn page() -> String {
    let mut out = String::from(
        "# Command line\n\n<!-- Written by `make reference` from the options in cli/src. -->\n\n\
         `RUST_LOG` sets what is logged, `info` by default. The first SIGINT or SIGTERM ends a verb in order, the second at \
         once.\n",
    );
    verbs(&mut out, "headwater", &Headwater::command());
    out
}

fn verbs(out: &mut String, above: &str, command: &Command) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{above} {}", verb.get_name());
        if verb.has_subcommands() {
            verbs(out, &name, verb);
            continue;
        }
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(out, "\n## {name}\n\n{about}.\n\n");
        out.push_str("| option | what | default | variable |\n|---|---|---|---|\n");
        for argument in verb.get_arguments().filter(|a| !a.is_hide_set()) {
            let _ = writeln!(out, "{}", row(argument));
        }
    }
}

fn row(argument: &Arg) -> String {
    let name = argument.get_long().unwrap_or_else(|| argument.get_id().as_str());
    let takes = argument.get_action().takes_values();
    let values = argument.get_value_names().filter(|_| takes);
    let value = values.map_or_else(String::new, |names| format!(" {}", names.join(" ")));
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    // A default that is no value of the option's own is said in its help.
    let (help, said) = match help.split_once(" [default: ") {
        Some((help, said)) => (help.to_owned(), said.trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let own: Vec<_> = argument.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    let default = if takes && !own.is_empty() { format!("`{}`", own.join(" ")) } else { said };
    let variable = argument.get_env().map_or_else(String::new, |name| format!("`{}`", name.to_string_lossy()));
    format!("| `--{name}{value}` | {help} | {default} | {variable} |")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_the_one_of_this_code() {
        for (path, text) in files() {
            let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(&path);
            let committed = std::fs::read_to_string(&committed).unwrap_or_default();
            assert!(committed == text, "{path} is stale: run `make reference` and commit what it writes");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Headwater::command().debug_assert();
    }

    #[test]
    fn every_verb_and_option_is_in_the_page() {
        let page = page();
        for expected in
            ["## headwater serve", "## headwater demo", "## headwater push", "`--workers N`", "`HEADWATER_KEY`"]
        {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        assert!(!page.contains("headwater reference\n"));
    }
}
