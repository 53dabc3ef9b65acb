//! The table of `get`.

use jiff::Timestamp;

use super::Overview;
use crate::render::age::{age, when};
use crate::render::screen::{Cell, Section, Tone};

/// Which columns the table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Every column, also beyond the width of the terminal: `kubectl get -o wide` does the same.
    pub wide: bool,
    /// The namespace, too.
    pub namespaces: bool,
    /// Columns of the terminal. `None`: it has no limit.
    pub width: Option<usize>,
}

/// Spaces between two columns.
const GAP: usize = 3;
/// The rank of columns that only the wide table has.
const WIDE: u8 = 0;
/// The rank of columns that are always there.
const ALWAYS: u8 = 9;

/// A column: its name, the text of its cells, and its rank. If the terminal is too narrow, those of the lowest rank are
/// left out first.
type Column = (&'static str, fn(&Overview, Timestamp) -> String, u8);

const COLUMNS: [Column; 18] = [
    ("NAMESPACE", |of, _| of.namespace.clone(), ALWAYS),
    ("NAME", |of, _| of.name.clone(), ALWAYS),
    ("READY", |of, _| of.ready.clone(), ALWAYS),
    ("REASON", |of, _| reason(of), 8),
    ("BUCKET", |of, _| of.bucket.clone().unwrap_or_default(), 7),
    ("REGION", |of, _| of.region.clone(), 5),
    ("KEY AGE", |of, _| of.key.as_ref().and_then(|key| key.age.clone()).unwrap_or_default(), 4),
    ("NEXT ROTATION", rotation, 1),
    ("DRIFT", |of, _| drift(of), 3),
    ("AGE", |of, now| of.created_at.map(|at| age(at, now)).unwrap_or_default(), 2),
    ("PREFIX", |of, _| of.prefix.clone(), WIDE),
    ("PRESET", |of, _| of.preset.clone(), WIDE),
    ("ACCOUNT", |of, _| of.account.clone(), WIDE),
    ("KEY", |of, _| of.key.as_ref().and_then(|key| key.id.clone()).unwrap_or_default(), WIDE),
    ("SECRET", |of, _| of.key.as_ref().and_then(|key| key.secret_name.clone()).unwrap_or_default(), WIDE),
    ("ACCESS", |of, _| of.access_groups.join(","), WIDE),
    ("RECONCILED", |of, now| of.last_reconcile_at.map(|at| age(at, now)).unwrap_or_default(), WIDE),
    ("MESSAGE", |of, _| if of.is_fine() { String::new() } else { of.message.clone() }, WIDE),
];

/// The table of `overviews` at `now`.
pub fn table(overviews: &[Overview], layout: Layout, now: Timestamp) -> Section {
    let text = |(_, cell, _): &Column, of: &Overview| match cell(of, now) {
        text if text.is_empty() => "-".to_owned(),
        text => text,
    };
    let width = |column: &Column| {
        let cells = overviews.iter().map(|of| text(column, of).chars().count());
        cells.max().unwrap_or_default().max(column.0.len()) + GAP
    };
    let shown = |(name, _, rank): &&Column| (layout.wide || *rank != WIDE) && (layout.namespaces || *name != "NAMESPACE");
    let mut columns: Vec<_> = COLUMNS.iter().filter(shown).collect();
    let fits = |columns: &[&Column]| {
        layout.wide || layout.width.is_none_or(|limit| columns.iter().map(|column| width(column)).sum::<usize>() <= limit + GAP)
    };
    while !fits(&columns) {
        let lowest = columns.iter().map(|(_, _, rank)| *rank).min().filter(|rank| *rank != ALWAYS);
        let Some(lowest) = lowest else { break };
        columns.retain(|(_, _, rank)| *rank != lowest);
    }
    let row = |of: &Overview| {
        let cell = |column: &&Column| Cell::of(tone(of, column.0), text(column, of));
        columns.iter().map(cell).collect()
    };
    Section {
        title: String::new(),
        header: columns.iter().map(|(name, ..)| *name).collect(),
        rows: overviews.iter().map(row).collect(),
        overflows: layout.wide,
    }
}

fn tone(of: &Overview, column: &str) -> Tone {
    match column {
        "READY" | "REASON" => of.tone(),
        "DRIFT" if of.drift.as_ref().is_some_and(|drift| !drift.differences.is_empty()) => Tone::Changed,
        _ => Tone::Plain,
    }
}

impl Overview {
    pub(super) fn tone(&self) -> Tone {
        match self.ready.as_str() {
            _ if self.suspended || self.deleting => Tone::Changed,
            "True" if self.is_fine() => Tone::Good,
            "False" if self.stalled || self.unreadable.is_some() => Tone::Bad,
            _ => Tone::Changed,
        }
    }
}

/// The reason, with what the reason alone does not say.
pub(super) fn reason(of: &Overview) -> String {
    let reason = of.reason.as_deref().unwrap_or("NotReconciled");
    let more = [
        (of.suspended && reason != "Suspended", "suspended"),
        (of.deleting && reason != "Deleting", "deleting"),
        (of.unreadable.is_some() && reason != "InvalidSpec", "unreadable"),
        (of.outdated && !of.suspended, "earlier spec"),
    ];
    let more: Vec<_> = more.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect();
    if more.is_empty() { reason.to_owned() } else { format!("{reason} ({})", more.join(", ")) }
}

fn rotation(of: &Overview, now: Timestamp) -> String {
    let Some(key) = &of.key else { return String::new() };
    match key.next_rotation_at {
        Some(at) => when(at, now),
        None if key.existing => String::new(),
        None => "on request".to_owned(),
    }
}

/// Reverted fields, and differences that are only observed.
fn drift(of: &Overview) -> String {
    let Some(drift) = &of.drift else { return "0".to_owned() };
    match drift.differences.len() {
        0 => drift.count.to_string(),
        differences => format!("{} ({differences} observed)", drift.count),
    }
}
