//! Sums the parts of a connection up: the conditions of the parts, then `Stalled`, `Reconciling` and `Ready`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{condition, is_true};
use super::fold::Fold;
use super::silence::{GRACE_SECONDS, silent};
use super::verdict::Verdict;
use crate::vocabulary::conditions::{ConditionType, Reason};

type Verdicts = [(ConditionType, Verdict)];

impl Fold<'_> {
    /// Sets the conditions of the parts and, only here, the three summary conditions. `denied` names all denied calls,
    /// if there were several.
    pub(super) fn sum_up(&mut self, verdicts: &Verdicts, denied: Option<String>) {
        let told = |(part, verdict): &(ConditionType, Verdict)| {
            let silent = silent(self.reconcile.object, *part, verdict, self.reconcile.now);
            (*part, silent.unwrap_or_else(|| verdict.clone()))
        };
        let verdicts: Vec<_> = verdicts.iter().map(told).collect();
        self.parts(&verdicts);
        let stalled = verdicts.iter().find(|(_, verdict)| verdict.stalled);
        // A person who fixes one denial fixes them all; a denial of the issued key is a separate matter.
        let denied = denied.filter(|_| {
            stalled.is_some_and(|(part, verdict)| *part != ConditionType::Verified && verdict.reason == Reason::AccessDenied)
        });
        self.progress(&verdicts, stalled, denied.as_deref());
        self.ready(&verdicts, stalled, denied);
    }

    fn parts(&mut self, verdicts: &Verdicts) {
        let before = self.before();
        let failing_since = condition(&before, ConditionType::Reconciling)
            .filter(|condition| condition.status == "True")
            .map_or(self.reconcile.now, |condition| condition.last_transition_time.0);
        let patience = self.reconcile.now.as_second() - failing_since.as_second() < GRACE_SECONDS;
        for (part, verdict) in verdicts {
            // A call that failed transiently says nothing new about a part that was healthy.
            if verdict.transient && patience && is_true(&before, *part) {
                continue;
            }
            let holds = if verdict.transient { None } else { verdict.holds };
            self.set(*part, holds, verdict.reason, &verdict.message);
        }
    }

    /// `Stalled` and `Reconciling`.
    fn progress(&mut self, verdicts: &Verdicts, stalled: Option<&(ConditionType, Verdict)>, denied: Option<&str>) {
        if let Some((part, verdict)) = stalled {
            let message = denied.map_or_else(|| format!("{part}: {}", verdict.message), str::to_owned);
            self.set(ConditionType::Stalled, true, verdict.reason, &message);
            self.set(ConditionType::Reconciling, false, verdict.reason, "action required; retried at least every 10 minutes");
            return;
        }
        self.set(ConditionType::Stalled, false, Reason::NotStalled, "no action required");
        let unsure = || {
            let open = |verdict: &Verdict| verdict.holds != Some(true) && verdict.reason != Reason::Observed;
            verdicts.iter().filter(move |(_, verdict)| open(verdict))
        };
        // A part that waits for another explains less than that other part.
        match unsure().find(|(_, verdict)| verdict.reason != Reason::Waiting).or_else(|| unsure().next()) {
            Some((part, verdict)) => {
                self.set(ConditionType::Reconciling, true, verdict.reason, &format!("{part}: {}", verdict.message));
            }
            None => self.set(ConditionType::Reconciling, false, Reason::Settled, "everything is as specified"),
        }
    }

    fn ready(&mut self, verdicts: &Verdicts, stalled: Option<&(ConditionType, Verdict)>, denied: Option<String>) {
        let stalled = stalled.and_then(|(part, _)| Some((*part, condition(&self.status, *part)?.clone())));
        let unseen = ConditionType::PARTS.into_iter().any(|part| condition(&self.status, part).is_none());
        if let Some((part, condition)) = stalled.or_else(|| self.failing()) {
            let reason = verdicts.iter().find(|(p, _)| *p == part).map_or(Reason::Waiting, |(_, v)| v.reason);
            let message = denied.unwrap_or_else(|| format!("{part}: {}", condition.message));
            self.set(ConditionType::Ready, false, reason, &message);
        } else if unseen {
            self.set(ConditionType::Ready, false, Reason::Progressing, "not reconciled yet");
        } else {
            let (reason, message) = self.works();
            self.set(ConditionType::Ready, true, reason, &message);
        }
    }

    /// The part that explains why the connection is not ready: one that is known to be wrong, else one that is unknown.
    fn failing(&self) -> Option<(ConditionType, Condition)> {
        let failing = |status: &str, waiting: bool| {
            ConditionType::PARTS.into_iter().find_map(|part| {
                let condition = condition(&self.status, part)?;
                let is = |reason: Reason| condition.reason == reason.to_string();
                (condition.status == status && (waiting || !is(Reason::Waiting)) && !is(Reason::Observed))
                    .then(|| (part, condition.clone()))
            })
        };
        failing("False", true).or_else(|| failing("Unknown", false)).or_else(|| failing("Unknown", true))
    }

    /// What `Ready` says of a connection all of whose parts are as specified.
    fn works(&self) -> (Reason, String) {
        let verified = condition(&self.status, ConditionType::Verified);
        if verified.is_none_or(|verified| verified.reason != Reason::InSync.to_string()) {
            let text = "no key is issued or verified (spec.management); status.drift.differences has the differences";
            return (Reason::Observed, text.to_owned());
        }
        let arn = self.status.memory.bucket.as_ref().map(|bucket| bucket.arn.as_str()).unwrap_or_default();
        let bucket = arn.rsplit(':').next().unwrap_or_default();
        let spec = &self.reconcile.object.spec;
        let prefix = spec.bucket.prefix.as_deref().unwrap_or_default();
        let key =
            spec.existing_secret().map_or_else(|| "the issued key".to_owned(), |secret| format!("the key in Secret {secret}"));
        (Reason::Connected, format!("{key} works on s3://{bucket}/{prefix}"))
    }
}
