//! The screen of `status`.

use jiff::Timestamp;

use super::links::State;
use super::table::reason;
use super::{Event, Key, Link, Overview};
use crate::api::{Capability, CapabilityState, DriftDifference, DriftStatus};
use crate::render::age::{age, when};
use crate::render::screen::{Cell, Section, Tone};

/// Events that fit on one screen.
const EVENTS: usize = 8;
/// Longest value of a drifted field that is shown whole.
const VALUE: usize = 80;

/// Everything about `of` on one screen, at `now`. `not_read` says why there are no Events.
pub fn screen(of: &Overview, not_read: Option<&str>, now: Timestamp) -> Vec<Section> {
    let mut sections = vec![summary(of, now), chain(of), capabilities(of), key(of, now), readers(of)];
    sections.extend(adoption(of));
    sections.push(drift(of.drift.as_ref(), now));
    sections.push(events(of.events.as_deref(), not_read, now));
    sections
}

fn row(name: &str, cell: impl Into<Cell>) -> Vec<Cell> {
    vec![Cell::of(Tone::Faint, name), cell.into()]
}

fn summary(of: &Overview, now: Timestamp) -> Section {
    let bucket = of.bucket.as_deref().unwrap_or("(no name yet)");
    let ready = match of.ready.as_str() {
        "True" => "Ready",
        "False" => "not Ready",
        _ => "Ready unknown",
    };
    let place = format!("{} on s3://{bucket}/{} in {}, AWSAccount {}", of.preset, of.prefix, of.region, of.account);
    let last = of.last_reconcile_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(at, now)));
    let state = Cell::of(of.tone(), format!("{ready}: {}", reason(of)));
    let text = if of.is_fine() { Tone::Plain } else { of.tone() };
    let rows = vec![
        vec![
            Cell::of(Tone::Heading, of.title()),
            state.and(text, Some(of.message.clone())).and(Tone::Plain, advice(of.act.as_ref())),
        ],
        row("connects", place),
        row("reconciled", format!("{last}; next: {}", of.next_reconcile.text)),
    ];
    Section::new("", rows)
}

fn advice(act: Option<&String>) -> Option<String> {
    act.map(|act| format!("Do: {act}"))
}

fn chain(of: &Overview) -> Section {
    let row = |link: &Link| {
        let tone = match link.state {
            State::Ok => Tone::Good,
            State::Broken => Tone::Bad,
            State::NotManaged => Tone::Faint,
            State::Waiting | State::Unknown | State::Observed => Tone::Changed,
        };
        let why = match (&link.reason, &link.message) {
            (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
            (reason, message) => message.clone().or_else(|| reason.clone()),
        };
        let mut detail = Cell::default().and(Tone::Plain, link.name.clone());
        detail = detail.and(if link.state == State::Broken { Tone::Bad } else { Tone::Plain }, why);
        // The summary has the advice on the cause already.
        let act = link.act.as_ref().filter(|act| of.act.as_ref() != Some(act));
        vec![Cell::from(link.link), Cell::of(tone, link.state.to_string()), detail.and(Tone::Plain, advice(act))]
    };
    Section::new("CHAIN", of.links.iter().map(row).collect())
}

fn capabilities(of: &Overview) -> Section {
    let row = |(name, capability): (&String, &Capability)| {
        let tone = match capability.state {
            CapabilityState::Valid => Tone::Good,
            CapabilityState::Invalid => Tone::Bad,
            CapabilityState::Pending => Tone::Changed,
            CapabilityState::NotConfigured => Tone::Faint,
        };
        vec![Cell::from(name), Cell::of(tone, format!("{:?}", capability.state)), Cell::from(&capability.message)]
    };
    let idle = |(_, capability): &(&String, &Capability)| capability.state == CapabilityState::NotConfigured;
    let mut rows: Vec<_> = of.capabilities.iter().filter(|entry| !idle(entry)).map(row).collect();
    // One line for all of them: the whole screen should fit a terminal.
    let names: Vec<_> = of.capabilities.iter().filter(idle).map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() {
        let text = format!("{}: the spec does not ask for it, or the policy does not allow it", names.join(", "));
        rows.push(["others", "NotConfigured", &text].map(|text| Cell::of(Tone::Faint, text)).into());
    }
    Section::new("CAPABILITIES", if rows.is_empty() { vec![vec!["nothing is verified".into()]] } else { rows })
}

fn key(of: &Overview, now: Timestamp) -> Section {
    let Some(key) = &of.key else { return Section::new("KEY", vec![vec!["no key".into()]]) };
    let phase = key.phase.map(|phase| format!(" ({phase:?})")).unwrap_or_default();
    let id = key.id.as_ref().map_or_else(|| format!("not issued yet{phase}"), |id| format!("{id}{phase}"));
    let mut rows = vec![row("current", id)];
    if let Some(secret) = &key.secret_name {
        let whose = if key.existing { ", which the operator only reads" } else { "" };
        rows.push(row("Secret", format!("{secret}{whose}")));
    }
    if let Some(identity) = &key.identity {
        rows.push(row("identity", identity));
    }
    if let (Some(at), Some(age)) = (key.issued_at, &key.age) {
        rows.push(row("age", format!("{age} (issued {at})")));
    }
    if let Some(at) = key.verified_at {
        rows.push(row("verified", when(at, now)));
    }
    rows.push(row("next rotation", next_rotation(key, now)));
    if let Some(pending) = &key.pending {
        let id = pending.access_key_id.as_deref().unwrap_or("not issued yet");
        rows.push(row("pending", Cell::of(Tone::Changed, format!("{id}, in Secret {}", pending.secret_name))));
    }
    if let Some(previous) = &key.previous {
        let until = match &previous.inactive_since {
            Some(since) => format!("Inactive since {}", since.0),
            None => format!("works until {} ({})", previous.works_until.0, when(previous.works_until.0, now)),
        };
        let used =
            previous.used_since().map(|used| format!(", used by {} in {} since it was replaced", used.service, used.region));
        rows.push(row(
            "previous",
            Cell::of(Tone::Changed, format!("{}, {until}{}", previous.access_key_id, used.unwrap_or_default())),
        ));
    }
    if let Some(revocation) = &key.revocation {
        let text =
            format!("sessions that began before {} are denied until {}", revocation.sessions_before.0, revocation.ends_at.0);
        rows.push(row("revocation", Cell::of(Tone::Changed, text)));
    }
    Section::new("KEY", rows)
}

fn next_rotation(key: &Key, now: Timestamp) -> String {
    match (&key.rotation_interval, key.next_rotation_at) {
        _ if key.existing => "never: the owner of the Secret rotates the key".to_owned(),
        (Some(interval), Some(at)) => format!("{} ({at}), every {interval}", when(at, now)),
        (Some(interval), None) => format!("every {interval}"),
        (None, _) => "only on request: bucketconnection rotate".to_owned(),
    }
}

fn readers(of: &Overview) -> Section {
    let row = |group: &String| vec![Cell::from(group)];
    let rows: Vec<_> = of.access_groups.iter().map(row).collect();
    let none = "no group through this connection; the cluster's own roles still apply";
    Section::new("WHO CAN READ THE SECRET", if rows.is_empty() { vec![vec![none.into()]] } else { rows })
}

fn adoption(of: &Overview) -> Option<Section> {
    let adoption = of.adoption.as_ref()?;
    let change = |change: &DriftDifference| {
        vec![change.path.as_str().into(), Cell::from(value(change.live.as_ref())), Cell::from(value(change.desired.as_ref()))]
    };
    let rows = adoption.changes.iter().map(change).collect();
    let title = format!("ADOPTION WAITS FOR APPROVAL OF {}", adoption.plan_hash);
    Some(Section { title, header: vec!["FIELD", "BEFORE", "AFTER"], rows, ..Section::default() })
}

fn drift(drift: Option<&DriftStatus>, now: Timestamp) -> Section {
    let Some(drift) = drift else { return Section::new("DRIFT", vec![vec!["none so far".into()]]) };
    let observed = drift.differences.iter().map(|difference| {
        let state = Cell::of(Tone::Changed, "observed");
        vec![
            state,
            difference.path.as_str().into(),
            value(difference.live.as_ref()).into(),
            value(difference.desired.as_ref()).into(),
        ]
    });
    let reverted = drift.journal.iter().map(|entry| {
        let state = match entry.reverted_at {
            Some(_) => format!("reverted {} ago", age(entry.detected_at.0, now)),
            None => format!("found {} ago", age(entry.detected_at.0, now)),
        };
        vec![state.into(), entry.path.as_str().into(), value(entry.live.as_ref()).into(), value(entry.desired.as_ref()).into()]
    });
    let rows: Vec<_> = observed.chain(reverted).collect();
    let title = format!("DRIFT ({} reverted so far)", drift.count);
    if rows.is_empty() {
        return Section::new(&title, vec![vec!["no difference now".into()]]);
    }
    Section { title, header: vec!["STATE", "FIELD", "BEFORE", "AFTER"], rows, ..Section::default() }
}

/// A value of a field; the status has it as JSON.
fn value(value: Option<&String>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    match value.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.clone(),
    }
}

fn events(events: Option<&[Event]>, not_read: Option<&str>, now: Timestamp) -> Section {
    let Some(events) = events else {
        return Section::new("EVENTS", vec![vec![Cell::of(Tone::Faint, not_read.unwrap_or("not read"))]]);
    };
    if events.is_empty() {
        return Section::new("EVENTS", vec![vec!["none: the API server keeps Events for an hour".into()]]);
    }
    let row = |event: &Event| {
        let tone = if event.kind == "Warning" { Tone::Changed } else { Tone::Plain };
        let age = event.at.map(|at| age(at, now)).unwrap_or_default();
        vec![age.into(), Cell::of(tone, &event.kind), event.reason.as_str().into(), event.note.as_str().into()]
    };
    let rows = events.iter().take(EVENTS).map(row).collect();
    Section { title: "EVENTS".to_owned(), header: vec!["AGE", "TYPE", "REASON", "NOTE"], rows, ..Section::default() }
}
