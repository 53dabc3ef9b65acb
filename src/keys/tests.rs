//! The laws of the key machine, checked in every state of its domain.

use super::*;
use crate::api::PendingKey;
use crate::credentials::{KeyPair, Sensitive};
use crate::observed::AccessKey;
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::{Class, Problem};

const CURRENT: &str = "AKIACURRENT";
const PENDING: &str = "AKIAPENDING";
const PREVIOUS: &str = "AKIAPREVIOUS";
const OLD: &str = "AKIAOLD";
const FOREIGN: &str = "AKIAFOREIGN";

fn pair(id: &str) -> KeyPair {
    KeyPair { id: id.into(), secret: Sensitive::new("secret".into()) }
}

fn problem() -> Problem {
    Problem::new(Class::Unavailable, "iam:ListAccessKeys", "Timeout", "no answer")
}

fn currents() -> Vec<Current> {
    let broken = [
        Why::NoKey,
        Why::Revoked(vec![CURRENT.into(), PREVIOUS.into()]),
        Why::Deleted(CURRENT.into()),
        Why::Expired(CURRENT.into()),
        Why::InactiveOfOthers(FOREIGN.into()),
        Why::WrongSecret(CURRENT.into()),
        Why::OtherUser(FOREIGN.into(), "arn:aws:iam::123456789012:user/other".into()),
    ];
    let mut all = vec![
        Current::NewUser,
        Current::Works(pair(CURRENT)),
        // The operator crashed after it published the pending key, or someone set the Secret back to the previous key.
        Current::Works(pair(PENDING)),
        Current::Works(pair(PREVIOUS)),
        Current::Denied(pair(CURRENT), problem()),
        Current::Unclear(problem()),
        Current::Propagating(pair(CURRENT)),
        Current::Inactive(pair(CURRENT)),
        Current::Rejected(pair(CURRENT), "InvalidAccessKeyId".into()),
        Current::NotListed,
        Current::Unread(problem()),
    ];
    all.extend(broken.map(Current::Broken));
    all
}

fn waitings() -> Vec<Waiting> {
    let health = [Health::Works, Health::Propagating, Health::Denied(problem()), Health::Unclear(problem()), Health::Broken];
    let mut all = vec![
        Waiting::NotRead,
        Waiting::Foreign("exists".into()),
        Waiting::Unreadable(problem()),
        Waiting::Empty { ours: false },
        Waiting::Empty { ours: true },
        Waiting::Published { in_place: false },
        Waiting::Published { in_place: true },
    ];
    all.extend(health.map(|health| Waiting::Holds(pair(PENDING), health)));
    all
}

fn previouses() -> Vec<Option<Previous>> {
    use PreviousState::{Due, Gone, Rests, Unreadable, Unused};
    let previous =
        |over, settled, state| Some(Previous { id: PREVIOUS.into(), secret: Some("c-s3-v1".into()), over, settled, state });
    vec![
        None,
        previous(false, false, Rests),
        previous(true, false, Rests),
        previous(true, true, Rests),
        previous(true, false, Due),
        previous(true, true, Unused),
        previous(true, true, Unreadable(problem())),
        previous(true, false, Gone),
    ]
}

/// Lists of keys: any of these keys, at most two, the first Active and the second not, or the reverse.
fn lists() -> Vec<List> {
    let key = |id: &str, active| AccessKey { id: id.into(), active, expired: false, created_at: None };
    let ids = [CURRENT, PENDING, PREVIOUS, OLD, FOREIGN];
    let mut all = vec![List::NotAsked, List::Unreadable(problem()), List::Keys(Vec::new())];
    for (n, one) in ids.iter().enumerate() {
        all.extend([true, false].map(|active| List::Keys(vec![key(one, active)])));
        for other in &ids[n + 1..] {
            all.extend([true, false].map(|active| List::Keys(vec![key(one, active), key(other, !active)])));
        }
    }
    all
}

/// Calls `look` with every state of the machine. Some combine parts that cannot occur together; they must do no harm
/// either.
fn every_state(mut look: impl FnMut(&Ring)) {
    let noted = |id: Option<&str>| Some(PendingKey { secret_name: "c-s3-pending".into(), access_key_id: id.map(str::to_owned) });
    let slots = [Slot::None, Slot::Writable, Slot::Foreign("exists".into()), Slot::Unreadable(problem())];
    let orphan = |fits: &[&str]| Owners::for_tests(&[CURRENT, PENDING, PREVIOUS, OLD], &[CURRENT], fits);
    let owners = [orphan(&[]), orphan(&[FOREIGN]), orphan(&[CURRENT]), orphan(&["AKIA1", "AKIA2"])];
    for current in currents() {
        for list in lists() {
            for waiting in waitings() {
                for previous in previouses() {
                    for (n, noted) in [None, noted(None), noted(Some(PENDING))].into_iter().enumerate() {
                        let rotations = if current.key().is_some() { vec![None, Some(Rotation::Due)] } else { vec![None] };
                        for rotation in rotations {
                            for owners in &owners {
                                look(&Ring {
                                    secret: Slot::Writable,
                                    hold: Ok(None),
                                    list: list.clone(),
                                    owners: owners.clone(),
                                    current: current.clone(),
                                    known_current: (n != 1).then(|| CURRENT.to_owned()),
                                    own_secret: slots[n].clone(),
                                    noted: noted.clone(),
                                    waiting: waiting.clone(),
                                    previous: previous.clone(),
                                    obsolete: if n == 0 { vec![OLD.to_owned()] } else { Vec::new() },
                                    interrupted: n == 0,
                                    rotation,
                                    rights_change: n == 2,
                                    unproven: n == 1,
                                });
                            }
                        }
                    }
                }
            }
        }
    }
}

fn deleted(moves: &[Move]) -> Vec<&String> {
    moves
        .iter()
        .flat_map(|next| match next {
            Move::DeleteOrphan(id) | Move::Delete { id, .. } => vec![id],
            Move::Issue(issue) => issue.room.iter().chain(&issue.obsolete).collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn listed_active(ring: &Ring, id: &str) -> bool {
    ring.list.keys().into_iter().flatten().any(|key| key.id == id && key.active)
}

/// A rotation is no part of what a connection needs: the current key works, whatever blocks the next one.
fn a_working_key_is_not_blocked_by_a_rotation(ring: &Ring, moves: &[Move]) -> bool {
    let works = matches!(ring.current, Current::Works(_)) && matches!(ring.own_secret, Slot::None | Slot::Writable);
    let blocks = |next: &Move| matches!(next, Move::Block(_)) && next.part() != ConditionType::RotationComplete;
    !works || !moves.iter().any(blocks)
}

fn issued(moves: &[Move]) -> Option<&Issue> {
    moves.iter().find_map(|next| match next {
        Move::Issue(issue) => Some(issue),
        _ => None,
    })
}

fn no_more_than_two_keys(ring: &Ring, moves: &[Move]) -> bool {
    let Some(issue) = issued(moves) else { return true };
    // The machine deletes first any key that it does not list as known.
    let orphan = moves.iter().find_map(|next| match next {
        Move::DeleteOrphan(id) => Some(id),
        _ => None,
    });
    let listed = ring.list.keys().unwrap_or_default().iter().map(|key| &key.id);
    let left = listed.filter(|id| Some(*id) != orphan && !issue.room.contains(id));
    let once = moves.iter().filter(|next| matches!(next, Move::Issue(_))).count() == 1;
    once && issue.known.len() < MAX_KEYS && (ring.current == Current::NewUser || left.eq(&issue.known))
}

fn no_needed_key_is_deleted(ring: &Ring, moves: &[Move]) -> bool {
    let previous = ring.previous.as_ref();
    let room: Vec<_> = issued(moves).into_iter().flat_map(|issue| &issue.room).map(String::as_str).collect();
    deleted(moves).into_iter().all(|id| match id.as_str() {
        id if ring.current.key().is_some_and(|key| key.id == id) => false,
        CURRENT => match &ring.current {
            // What S3 refuses may work elsewhere: it makes no room for a key that is not verified yet.
            Current::Broken(Why::WrongSecret(_)) => !room.contains(&CURRENT) || !listed_active(ring, CURRENT),
            Current::Broken(_) => true,
            // The operator crashed after it wrote another key to the Secret.
            Current::Works(_) => ring.interrupted,
            _ => false,
        },
        // While the current key works, the previous key keeps its full overlap.
        PREVIOUS => previous.is_some_and(|previous| previous.over && (previous.settled || ring.current.key().is_none())),
        PENDING => !matches!(&ring.waiting, Waiting::Holds(_, Health::Works | Health::Propagating)),
        _ => true,
    })
}

fn nothing_foreign_is_touched(ring: &Ring, moves: &[Move]) -> bool {
    let switched = moves.iter().filter_map(|next| match next {
        Move::Activate(id) | Move::Deactivate(id) => Some(id),
        _ => None,
    });
    deleted(moves).into_iter().chain(switched).all(|id| ring.owners.ours(id))
}

fn a_failed_proof_alone_changes_nothing(ring: &Ring, moves: &[Move]) -> bool {
    let unclear = matches!(&ring.current, Current::Unclear(_) | Current::Rejected(..) | Current::NotListed | Current::Unread(_));
    !unclear || moves.iter().all(|next| matches!(next, Move::Block(_) | Move::DeleteOrphan(_)))
}

/// An unverified key replaces only a key that does not work anyway.
fn a_key_is_proven_before_it_is_published(ring: &Ring, moves: &[Move]) -> bool {
    moves.iter().enumerate().all(|(at, next)| match next {
        Move::Publish { key, proven: true } => at > 0 && moves[at - 1] == Move::ProvePending(key.clone()),
        Move::Publish { proven: false, .. } => matches!(ring.current, Current::Broken(_)),
        _ => true,
    })
}

fn a_hold_or_a_foreign_secret_stops_everything(ring: &Ring, _: &[Move]) -> bool {
    let held = Ring { hold: Ok(Some(Hold::Tag)), ..ring.clone() };
    let unknown = Ring { hold: Err(problem()), ..ring.clone() };
    let foreign = Ring { secret: Slot::Foreign("exists".into()), ..ring.clone() };
    [held, unknown, foreign].iter().all(|ring| matches!(&next_moves(ring)[..], [Move::Block(_)]))
}

/// The ring after `moves` were executed and recorded.
fn carried_out(ring: &Ring, moves: &[Move]) -> Ring {
    let mut after = Ring { rights_change: false, ..ring.clone() };
    if let Some(key) = ring.current.key() {
        after.known_current = Some(key.id.clone());
    }
    let mut listed = ring.list.keys().map(<[_]>::to_vec).unwrap_or_default();
    let current = |after: &mut Ring, key: KeyPair| {
        (after.known_current, after.current) = (Some(key.id.clone()), Current::Works(key));
        (after.noted, after.rotation, after.interrupted, after.unproven) = (None, None, false, false);
    };
    for next in moves {
        match next {
            Move::DeleteOrphan(_) => after.owners = Owners::for_tests(&[CURRENT, PENDING, PREVIOUS, OLD], &[CURRENT], &[]),
            Move::Delete { because: Because::NeverPublished, .. } => {
                (after.noted, after.waiting) = (None, Waiting::Empty { ours: false });
            }
            Move::Delete { because: Because::Unused, .. } => after.previous = None,
            Move::Deactivate(_) => after.previous.iter_mut().for_each(|previous| previous.state = PreviousState::Rests),
            Move::DropSecret(_) => {
                after.previous.iter_mut().for_each(|previous| previous.secret = None);
                (after.noted, after.waiting) = (None, Waiting::Empty { ours: false });
            }
            Move::Activate(_) => after.current = Current::Works(pair(CURRENT)),
            Move::Prove(key) => (after.current, after.unproven) = (Current::Works(key.clone()), false),
            Move::Issue(Issue { stage: Stage::Current, .. }) => {
                current(&mut after, pair("AKIANEW"));
                listed.push(active("AKIANEW"));
            }
            Move::Issue(Issue { stage: Stage::Pending, .. }) => {
                current(&mut after, pair("AKIANEW"));
                listed.push(active("AKIANEW"));
                (after.waiting, after.previous) = (Waiting::Empty { ours: false }, None);
            }
            Move::Publish { key, .. } => {
                current(&mut after, key.clone());
                (after.waiting, after.previous) = (Waiting::Empty { ours: false }, None);
            }
            _ => {}
        }
    }
    let gone = deleted(moves);
    listed.retain(|key| !gone.contains(&&key.id));
    after.obsolete.retain(|id| !gone.contains(&id));
    after.list = if matches!(ring.list, List::Keys(_)) { List::Keys(listed) } else { after.list };
    after
}

/// Whether repeated moves come to rest, where the state does not change without moves: the remaining moves write only
/// what differs.
fn repeated_moves_come_to_rest(ring: &Ring, moves: &[Move]) -> bool {
    let rests = |next: &Move| {
        let writes = matches!(next, Move::WriteSecret(_) | Move::DropEarlierSecrets | Move::WriteOwnSecret(_) | Move::Restart(_));
        writes || matches!(next, Move::Block(_))
    };
    let (mut ring, mut moves) = (ring.clone(), moves.to_vec());
    for _ in 0..6 {
        if moves.iter().all(rests) {
            return true;
        }
        ring = carried_out(&ring, &moves);
        moves = next_moves(&ring);
    }
    false
}

#[test]
fn every_state_keeps_the_laws() {
    type Law = (&'static str, fn(&Ring, &[Move]) -> bool);
    let laws: [Law; 8] = [
        ("a working key is not blocked by a rotation", a_working_key_is_not_blocked_by_a_rotation),
        ("a user never has more than two keys", no_more_than_two_keys),
        ("no key that is needed is deleted", no_needed_key_is_deleted),
        ("nothing foreign is touched", nothing_foreign_is_touched),
        ("a failed proof alone changes nothing", a_failed_proof_alone_changes_nothing),
        ("a key is proven before it is published", a_key_is_proven_before_it_is_published),
        ("repeated moves come to rest", repeated_moves_come_to_rest),
        ("a hold or a foreign Secret stops everything", a_hold_or_a_foreign_secret_stops_everything),
    ];
    let mut states = 0;
    every_state(|ring| {
        let moves = next_moves(ring);
        for (name, law) in laws {
            assert!(law(ring, &moves), "{name}: {ring:#?}\n{moves:#?}");
        }
        states += 1;
    });
    assert!(states > 100_000, "{states}");
}

/// A ring with nothing to do.
fn rest() -> Ring {
    Ring {
        secret: Slot::Writable,
        hold: Ok(None),
        list: List::NotAsked,
        owners: Owners::for_tests(&[CURRENT, PENDING, PREVIOUS, OLD], &[CURRENT], &[]),
        current: Current::Works(pair(CURRENT)),
        known_current: Some(CURRENT.into()),
        own_secret: Slot::None,
        noted: None,
        waiting: Waiting::NotRead,
        previous: None,
        obsolete: Vec::new(),
        interrupted: false,
        rotation: None,
        rights_change: false,
        unproven: false,
    }
}

/// The state that a row of the tables in `mod.rs` names.
fn state(table: usize, row: &str) -> Ring {
    let (name, detail) = row.split_once(", ").unwrap_or((row, ""));
    let mut ring = Ring { list: List::Keys(vec![active(CURRENT)]), ..rest() };
    let all = |found: Option<Ring>| found.unwrap_or_else(|| panic!("no state {row:?}"));
    match table {
        0 => {
            ring.current = currents().into_iter().find(|current| format!("{current:?}").starts_with(name)).expect(row);
            ring.list = if name == "NotListed" { List::NotAsked } else { ring.list };
            match detail {
                "unproven" => ring.unproven = true,
                "rights change" => ring.rights_change = true,
                "pending key" => ring.waiting = Waiting::Holds(pair(PENDING), Health::Works),
                _ => {}
            }
            ring
        }
        1 => {
            ring.noted = Some(PendingKey { secret_name: "c-s3-pending".into(), access_key_id: Some(PENDING.into()) });
            ring.list = List::Keys(vec![active(CURRENT), active(PENDING)]);
            if name == "none" {
                let list = List::Keys(vec![active(CURRENT)]);
                return Ring {
                    noted: None,
                    rotation: Some(Rotation::Due),
                    waiting: Waiting::Empty { ours: false },
                    list,
                    ..ring
                };
            }
            let fits = |waiting: &Waiting| {
                let shown = format!("{waiting:?}").to_lowercase();
                shown.starts_with(&name.to_lowercase()) && shown.contains(detail)
            };
            all(waitings().into_iter().find(fits).map(|waiting| Ring { waiting, ..ring }))
        }
        _ => {
            let fits = |previous: &Option<Previous>| {
                previous.as_ref().is_some_and(|previous| format!("{:?}", previous.state).starts_with(name))
            };
            all(previouses().into_iter().find(fits).map(|previous| Ring { previous, ..ring }))
        }
    }
}

fn active(id: &str) -> AccessKey {
    AccessKey { id: id.into(), active: true, expired: false, created_at: None }
}

fn names(moves: &[Move]) -> Vec<String> {
    let name = |next: &Move| {
        let shown = format!("{next:?}");
        shown.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
    };
    moves.iter().map(name).collect()
}

/// The tables in the documentation match the code: each row is set up and leads to the moves that it names, and each
/// state has a row.
#[test]
fn the_tables_are_the_code() {
    let text = include_str!("mod.rs");
    let tables =
        text.split("| state | moves | in words |").skip(1).map(|table| table.split("\n//!\n").next().unwrap_or_default());
    let resting = names(&next_moves(&rest()));
    let mut rows = [const { Vec::new() }; 3];
    for (table, rows) in tables.zip(&mut rows).enumerate().map(|(table, (text, rows))| ((table, text), rows)) {
        let (number, text) = table;
        for line in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let mut cells = line.split(" |").map(|cell| cell.trim().replace('`', ""));
            let (row, wanted) = (cells.next().unwrap(), cells.next().unwrap());
            let wanted: Vec<_> = wanted.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let moves = names(&next_moves(&state(number, &row)));
            let told = if number == 0 { &moves[..] } else { &moves[resting.len()..] };
            assert_eq!(told, wanted, "{row}");
            rows.push(row);
        }
    }
    let has = |table: usize, state: String| rows[table].iter().any(|row| state.starts_with(row.split(',').next().unwrap()));
    for current in currents() {
        assert!(has(0, format!("{current:?}")), "{current:?} has no row");
    }
    for waiting in waitings().into_iter().filter(|waiting| *waiting != Waiting::NotRead) {
        assert!(has(1, format!("{waiting:?}")), "{waiting:?} has no row");
    }
    for previous in previouses().into_iter().flatten() {
        assert!(has(2, format!("{:?}", previous.state)), "{previous:?} has no row");
    }
}
