//! `scan` of a CRI file, from the page cache to the list of events.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use kube_sentinel::app::{Rulebook, Scanner};

use super::{Done, config};
use crate::{Case, measure};

pub struct Files {
    book: Rulebook,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Files {
    pub fn new(case: &Case, megabytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let book = Rulebook::load(&config(case, folder.path())).unwrap_or_else(|problems| panic!("{problems:?}"));
        let file = folder.path().join("0.log");
        let mut out = std::io::BufWriter::new(File::create(&file).expect("a writable folder"));
        for (n, line) in super::lines(case, megabytes).iter().enumerate() {
            writeln!(out, "2026-11-20T09:14:{:02}.{:09}Z stdout F {line}", n / 1_000_000 % 60, n % 1_000_000_000).expect("a writable file");
        }
        out.flush().expect("a writable file");
        Self { book, file, _folder: folder }
    }

    pub fn turn(&mut self) -> Done {
        let before = measure::process_cpu();
        let mut scanner = Scanner::new(&self.book);
        scanner.scan("0.log", File::open(&self.file).expect("our own file"), |_| true).expect("our own file");
        let cpu = measure::process_cpu() - before;
        let totals = *scanner.totals();
        Done { events: Some(scanner.events().len()), ..Done::new(totals.lines, totals.bytes, totals.hits, cpu) }
    }
}
