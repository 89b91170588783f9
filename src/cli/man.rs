//! `closegate man`: one manual page with every command, from the definitions that the program itself reads.

use std::io;
use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, EXIT_CODES, print};

/// Prints the page.
pub(super) fn run() -> ExitCode {
    match page() {
        Ok(page) => print::data(page, ExitCode::SUCCESS),
        Err(error) => {
            print::fault(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn page() -> io::Result<String> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut page = Vec::new();
    let man = Man::new(program.clone()).manual("closegate");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    heading("SH", "COMMANDS").to_writer(&mut page)?;
    for command in program.get_subcommands() {
        describe(command, &mut page)?;
    }
    let mut codes = heading("SH", "EXIT STATUS");
    codes.text([roman(EXIT_CODES)]);
    codes.to_writer(&mut page)?;
    // Each piece begins with the same definition; once is enough.
    let mut text = String::new();
    for line in String::from_utf8_lossy(&page).lines() {
        let known = DEFINITIONS.iter().any(|definition| line.starts_with(definition)) && text.contains(line);
        if !known {
            text.extend([line, "\n"]);
        }
    }
    Ok(text)
}

/// A command: how it is called, what it does, its own options, its examples; then the commands below it.
fn describe(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let below: Vec<&Command> = command.get_subcommands().collect();
    if below.is_empty() {
        heading("SS", command.get_bin_name().unwrap_or_else(|| command.get_name())).to_writer(page)?;
        let own = command.clone().mut_args(hide_shared);
        let has_options = own.get_arguments().any(|arg| !arg.is_hide_set());
        let man = Man::new(own);
        append(page, |section| man.render_synopsis_section(section))?;
        Roff::new().control("PP", []).to_writer(page)?;
        append(page, |section| man.render_description_section(section))?;
        if has_options {
            append(page, |section| man.render_options_section(section))?;
        }
        examples(command).to_writer(page)?;
    }
    below.into_iter().try_for_each(|command| describe(command, page))
}

/// What stands with the options of the whole program already.
fn hide_shared(arg: Arg) -> Arg {
    let shared = arg.is_global_set() || arg.get_id() == "help";
    if shared { arg.hide(true) } else { arg }
}

/// Appends a section without its heading.
fn append(page: &mut Vec<u8>, render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
    let mut section = Vec::new();
    render(&mut section)?;
    let lines = section.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b".SH "));
    lines.for_each(|line| page.extend_from_slice(line));
    Ok(())
}

/// What follows the help of a command, line for line.
fn examples(command: &Command) -> Roff {
    let mut roff = Roff::new();
    if let Some(text) = command.get_after_help() {
        roff.control("PP", []).control("nf", []);
        for line in text.to_string().lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}

fn heading(level: &str, text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control(level, [text]);
    roff
}

/// How a piece of roff begins: it says what an apostrophe is.
const DEFINITIONS: [&str; 2] = [".ie \\n(.g", ".el .ds"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_with_its_options_once() {
        let page = page().unwrap();
        let headings = page.lines().filter(|line| line.starts_with(".SH ")).collect::<Vec<_>>();
        assert_eq!(
            headings,
            [
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
                ".SH OPTIONS",
                ".SH \"OPTIONS OF EVERY COMMAND\"",
                ".SH COMMANDS",
                ".SH \"EXIT STATUS\"",
            ]
        );
        for name in ["serve", "demo", "check", "health", "route list", "route explain", "usage", "completions", "man"] {
            assert_eq!(page.matches(&format!("\n.SS \"closegate {name}\"\n")).count(), 1, "{name}: {page}");
        }
        // `--key` is one of `route explain` and of `usage`.
        for (option, times) in [("\\-\\-config", 2), ("\\-\\-key", 4), ("\\-\\-live", 2), ("\\-\\-since", 2)] {
            let options = page.lines().filter(|line| line.contains(&format!("\\fB{option}"))).count();
            assert_eq!(options, times, "{option}: in a synopsis and described");
        }
        assert!(!page.contains("route\\-help") && !page.contains("closegate help"), "{page}");
        assert_eq!(page.matches(DEFINITIONS[0]).count(), 1);
    }
}
