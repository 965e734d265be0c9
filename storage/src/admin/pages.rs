//! Manual pages and completions, made from the grammar of the command line.

use super::{Console, Done, Failure};
use clap_complete::Shell as Kind;
use config::cli::{Cli, Shell};
use std::{fs, path::Path};

/// A page for each command.
pub(super) fn man(program: &'static str, dir: &Path) -> Done {
    fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::grammar(program), dir)).map_err(|e| Failure::at(dir, e))
}

/// On standard output.
pub(super) fn completions(program: &'static str, shell: Shell, console: &mut Console<'_>) -> Done {
    let kind = match shell {
        Shell::Bash => Kind::Bash,
        Shell::Elvish => Kind::Elvish,
        Shell::Fish => Kind::Fish,
        Shell::Powershell => Kind::PowerShell,
        Shell::Zsh => Kind::Zsh,
    };
    // The generator panics where it cannot write, so it writes to memory.
    let mut text = Vec::new();
    clap_complete::generate(kind, &mut Cli::grammar(program), program, &mut text);
    Ok(console.out.write_all(&text)?)
}
