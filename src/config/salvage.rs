//! What can be read of a file that is no TOML, table by table: who must end a key does not wait until it is mended.
//!
//! A table that is no TOML is left out, and said; one that is needed is not gone without. Nothing is guessed: what is left
//! must be TOML, with every line where it was.

use super::finding::Finding;
use super::place::Place;

/// The text of a file that is no TOML as a whole.
pub(super) struct Damaged<'t> {
    tables: Vec<Table<'t>>,
}

/// From the header of a table to the next one. The first of a file has none.
struct Table<'t> {
    /// The line that it begins with, counted from 1.
    line: usize,
    /// The first part of its name.
    name: Option<&'t str>,
    text: &'t str,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Kept,
    LeftOut,
}

impl<'t> Damaged<'t> {
    /// Takes the text apart at the headers of its tables.
    pub(super) fn new(text: &'t str) -> Self {
        let mut tables: Vec<Table<'t>> = Vec::new();
        let (mut start, mut line, mut name, mut offset) = (0, 1, None, 0);
        for (at, of_file) in text.split_inclusive('\n').enumerate() {
            if let Some(begun) = header(of_file) {
                tables.push(Table { line, name, text: &text[start..offset], standing: Standing::Kept });
                (start, line, name) = (offset, at + 1, Some(begun));
            }
            offset += of_file.len();
        }
        tables.push(Table { line, name, text: &text[start..], standing: Standing::Kept });
        Self { tables }
    }

    /// What `parse` makes of it without the tables that are at fault, and their faults; the fault of one that is needed, or
    /// that leaving out does not mend. Needed are what stands before the first table, and tables by the first part of their name.
    pub(super) fn without_faulty<T>(
        mut self,
        needed: &[&str],
        parse: impl Fn(&str) -> Result<T, Box<Finding>>,
    ) -> Result<(T, Vec<Finding>), Finding> {
        let mut faults = Vec::new();
        for table in &mut self.tables {
            if let Err(fault) = parse(table.text) {
                faults.push(table.leave_out(needed, fault.lower_by(table.line - 1))?);
            }
        }
        // Tables that are TOML each may not be so together: one that is there twice.
        loop {
            let fault = match parse(&self.text()) {
                Ok(parsed) => return Ok((parsed, faults)),
                Err(fault) => *fault,
            };
            let line = fault.place.line();
            match self.tables.iter_mut().rfind(|table| table.line <= line) {
                Some(table) if table.standing == Standing::Kept => faults.push(table.leave_out(needed, fault)?),
                _ => return Err(fault),
            }
        }
    }

    /// The text without what is left out, every line where it was.
    fn text(&self) -> String {
        let text = |table: &Table<'_>| match table.standing {
            Standing::Kept => table.text.to_owned(),
            Standing::LeftOut => "\n".repeat(table.text.matches('\n').count()),
        };
        self.tables.iter().map(text).collect()
    }
}

impl Table<'_> {
    fn leave_out(&mut self, needed: &[&str], fault: Finding) -> Result<Finding, Finding> {
        if self.name.is_none_or(|name| needed.contains(&name)) {
            return Err(fault);
        }
        self.standing = Standing::LeftOut;
        Ok(fault)
    }
}

impl Finding {
    /// The same in a text that has so many lines more before it.
    fn lower_by(mut self, lines: usize) -> Self {
        if let Place::File { line: Some(line), .. } = &mut self.place {
            *line += lines;
        }
        self
    }
}

/// The first part of the name in a table's header; none of a line that is no header.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix('[')?.trim_start_matches('[').trim_start();
    let end = name.find(['.', ']', ' ', '\t', '\n']).unwrap_or(name.len());
    Some(name[..end].trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file::FileTree;

    fn read(text: &str) -> Result<(FileTree, Vec<Finding>), Finding> {
        let parse = |text: &str| FileTree::parse(Path::new("f.toml"), &"f.toml".into(), text);
        Damaged::new(text).without_faulty(&["admin"], parse)
    }

    #[test]
    fn a_table_that_is_no_toml_is_left_out_and_the_rest_stays_where_it_was() {
        let text =
            "data_dir = \"/d\"\n[keys.a]\nroutes = [\"sales\"\n\n[keys.b]\nrate = 20/s\n[keys.c]\nburst = 1\n[admin]\n";
        let (tree, faults) = read(text).unwrap_or_else(|fault| panic!("{fault:?}"));
        let lines = tree.lines();
        assert_eq!(lines["admin"].line(), 9, "{lines:?}");
        assert_eq!(lines["keys.c.burst"].line(), 8);
        assert!(!lines.contains_key("keys.a") && !lines.contains_key("keys.b"));
        let at: Vec<_> = faults.iter().map(|fault| fault.place.line()).collect();
        assert!(matches!(at[..], [2..=5, 6]), "{faults:?}");
    }

    #[test]
    fn a_table_that_is_there_twice_counts_once() {
        let (tree, faults) = read("[keys.a]\nburst = 1\n[keys.a]\nrate = \"1/s\"\n[admin]\n")
            .unwrap_or_else(|fault| panic!("{fault:?}"));
        assert!(tree.lines().contains_key("keys.a.burst") && !tree.lines().contains_key("keys.a.rate"));
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn what_is_needed_is_not_gone_without() {
        for text in
            ["data_dir = /d\n", "[admin]\naddress = 1.2.3\n", "[keys.a]\nburst = 1\n[admin.tokens.a]\nrole = admin\n"]
        {
            let fault = read(text).err().unwrap_or_else(|| panic!("{text}"));
            assert_eq!(fault.place.line(), text.lines().count(), "{fault:?}");
        }
    }
}
