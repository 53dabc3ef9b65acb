//! What changed from one overview to the next, as lines: `--watch` without a terminal.

use super::links::State;
use super::table::reason;
use super::{Link, Overview};

/// The lines about `after`, compared with `before`; for a first overview, its state.
pub fn changes(before: Option<&Overview>, after: &Overview) -> Vec<String> {
    let title = after.title();
    let mut lines = Vec::new();
    let state = |of: &Overview| format!("Ready={} {}: {}", of.ready, reason(of), of.message);
    if before.map(&state) != Some(state(after)) {
        lines.push(format!("{title}  {}", state(after)));
    }
    let told = |of: Option<&Overview>| of.map(|of| of.links.clone()).unwrap_or_default();
    let earlier = told(before);
    for link in &after.links {
        let known = earlier.iter().find(|known| known.link == link.link);
        let news = match known {
            Some(known) => known != link,
            None => link.state != State::Ok,
        };
        if news {
            lines.push(format!("{title}  {}", line(link)));
        }
    }
    let count = |of: &Overview| of.drift.as_ref().map_or(0, |drift| drift.count);
    if before.is_some_and(|before| count(before) != count(after)) {
        lines.push(format!("{title}  drift: {} reverted so far", count(after)));
    }
    if let (Some(events), Some(before)) = (&after.events, before) {
        let known = before.events.as_deref().unwrap_or_default();
        let new = events.iter().rev().filter(|event| !known.contains(event));
        lines.extend(new.map(|event| format!("{title}  {} {}: {}", event.kind, event.reason, event.note)));
    }
    lines
}

fn line(link: &Link) -> String {
    let parts = [link.name.as_deref(), link.reason.as_deref(), link.message.as_deref()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!("{}: {}{}{}", link.link, link.state, if parts.is_empty() { "" } else { ": " }, parts.join(": "))
}
