//! The BucketConnection that describes what exists in AWS, such that adopting it changes nothing but ownership tags.
//!
//! It tests itself: it resolves the object and compares the desired state with what was read. What still differs is left to
//! observation (`spec.management`), and named in a note.

mod policy;
mod yaml;

use kube::ResourceExt;

use super::printable;
use crate::api::{
    AccountRef, BucketConnection, BucketConnectionSpec, BucketSpec, CredentialsSpec, DeletionPolicy, ExistingSecretRef,
    KeySource, ManagementMode, Preset, UserSpec,
};
use crate::desired::{self, Account, Desired, Grant, SpecError, names};
use crate::observed::{ExistingPolicy, ExistingUser};
use crate::settings::cors::CorsSpec;
use crate::settings::tags::{self, TAG_PREFIX};
use crate::settings::{ImportedSettings, Live, SettingId, Specs};

/// Longest value of a field in a note.
const VALUE_LENGTH: usize = 120;

/// The namespace of an object whose YAML names none.
const NAMESPACE: &str = "default";

/// What the user asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Namespace of the connection, if the YAML is to name it.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Name of the AWSAccount.
    pub account: String,
    /// The preset; otherwise it is found or guessed.
    pub preset: Option<Preset>,
    /// The prefix; otherwise it is found in the user's policy.
    pub prefix: Option<String>,
    /// Name of a Secret with an existing key: the operator then manages no user.
    pub secret: Option<String>,
}

/// What exists in AWS.
pub struct Found<'a> {
    /// Name of the bucket.
    pub bucket: &'a str,
    /// Its region.
    pub region: &'a str,
    /// The account.
    pub account: &'a Account,
    /// The settings of the bucket.
    pub live: &'a Live,
    /// The user, if one was asked for.
    pub user: Option<&'a ExistingUser>,
}

/// The connection for it.
#[derive(Clone, Debug)]
pub struct Import {
    /// The connection, in the namespace `default` if none was asked for.
    pub object: BucketConnection,
    /// The namespace that was asked for.
    namespace: Option<String>,
    /// What the object does not say about what exists, and what else a person must know.
    pub notes: Vec<String>,
    /// What the AWSAccount must allow.
    pub needs: Vec<String>,
}

/// The connection for what exists.
pub fn import(wish: &Wish, found: &Found<'_>) -> Import {
    let mut import =
        Import { object: object(wish, found), namespace: wish.namespace.clone(), notes: Vec::new(), needs: Vec::new() };
    let mut settings = found.live.imported();
    for (setting, text) in std::mem::take(&mut settings.lost) {
        import.note(setting.field(), &format!("{text}: it stays as it is"));
    }
    import.put(settings);
    let owners = [("bucket", found.live.tags.set().map(|tags| &**tags)), ("user", found.user.map(|user| &user.user.tags))];
    for (what, owner) in owners.iter().filter_map(|(what, tags)| Some((what, tags.as_ref()?.get(names::OWNER_TAG)?))) {
        import.note(what, &format!("it belongs to the connection {owner}, and is not adopted before that one releases it"));
    }
    for problem in found.live.problems() {
        import.notes.push(format!("could not be read, and is left out: {problem}"));
    }
    policy::choose(&mut import, wish, found);
    import.cors(found);
    if let (Some(user), None) = (found.user, &wish.secret) {
        import.user(user);
    }
    if let Some(secret) = &wish.secret {
        let reference = ExistingSecretRef { name: secret.clone() };
        let existing =
            CredentialsSpec { source: KeySource::Existing, existing_secret_ref: Some(reference), ..CredentialsSpec::default() };
        import.object.spec.credentials = Some(existing);
        import.object.spec.policy = None;
    }
    import.settle(found);
    let spec = &import.object.spec;
    let reaches = Specs { spec: &spec.settings, bucket: &spec.bucket.settings }.reaches();
    import.needs.extend(reaches.iter().map(ToString::to_string));
    import
}

fn object(wish: &Wish, found: &Found<'_>) -> BucketConnection {
    let bucket = BucketSpec {
        name: Some(found.bucket.to_owned()),
        name_prefix: None,
        prefix: wish.prefix.clone().filter(|prefix| !prefix.is_empty()),
        adopt: true,
        allow_root: false,
        allow_weaker: Vec::new(),
        settings: Default::default(),
    };
    let spec = BucketConnectionSpec {
        account_ref: AccountRef { name: wish.account.clone() },
        preset: Preset::ReadWrite,
        region: found.region.to_owned(),
        bucket,
        settings: Default::default(),
        illumina_ica: None,
        policy: None,
        user: None,
        credentials: None,
        verification: None,
        access: None,
        deletion_policy: DeletionPolicy::Retain,
        force_destroy: false,
        management: Default::default(),
        approved_plan: None,
        resync_interval: std::time::Duration::from_secs(600).into(),
        suspend: false,
    };
    let mut object = BucketConnection::new(&wish.name, spec);
    object.metadata.namespace = Some(wish.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned()));
    object
}

/// The desired state, if the account allows everything.
fn resolve(object: &BucketConnection, account: &Account) -> Result<Desired, Vec<SpecError>> {
    desired::resolve(object, "", account, &Grant::of_unknown_account())
}

impl Import {
    fn note(&mut self, field: &str, text: &str) {
        self.notes.push(format!("{field}: {text}"));
    }

    /// The settings of the spec, to change them.
    fn take(&mut self) -> ImportedSettings {
        let spec = &mut self.object.spec;
        let (spec, bucket) = (std::mem::take(&mut spec.settings), std::mem::take(&mut spec.bucket.settings));
        ImportedSettings { spec, bucket, lost: Vec::new() }
    }

    fn put(&mut self, settings: ImportedSettings) {
        self.object.spec.settings = settings.spec;
        self.object.spec.bucket.settings = settings.bucket;
    }

    /// The preset's rules are left out if they are those of the bucket; a bucket without rules must say so if the preset has some.
    fn cors(&mut self, found: &Found<'_>) {
        let imported = self.object.spec.settings.cors.take();
        let Ok(desired) = resolve(&self.object, found.account) else {
            self.object.spec.settings.cors = imported;
            return;
        };
        let preset_has = desired.bucket.settings.cors.is_some();
        let (changes, _) = desired.bucket.settings.changes(found.live);
        let same = preset_has && changes.iter().all(|change| change.setting != SettingId::Cors);
        self.object.spec.settings.cors = match imported {
            _ if same => None,
            None if preset_has => Some(CorsSpec { rules: Vec::new() }),
            imported => imported,
        };
    }

    fn user(&mut self, user: &ExistingUser) {
        let (tags, lost) = tags::imported(&user.user.tags);
        self.object.spec.user = Some(UserSpec {
            name: Some(user.name.clone()),
            adopt: true,
            path: Some(user.user.path.clone()).filter(|path| path != names::DEFAULT_PATH),
            permissions_boundary: user.user.boundary.clone(),
            tags,
        });
        if user.user.path != names::DEFAULT_PATH {
            let text = format!(
                "{}: the operator's own IAM policy must allow it; iam-policy -f FILE prints one that does",
                user.user.path
            );
            self.note("user.path", &text);
        }
        lost.iter().for_each(|text| self.note("user.tags", &format!("{text}: it stays as it is")));
        self.needs.extend([format!("user.name {}", user.name), "adoption.users".to_owned()]);
        let mut own: Vec<_> = user.groups.iter().map(|group| format!("group {group}")).collect();
        own.extend(user.keys.iter().map(|key| format!("access key {}", key.id)));
        let kept = self.object.spec.policy.as_ref().and_then(|policy| Some((policy.kind, policy.name.clone()?)));
        let other = |policy: &&ExistingPolicy| kept.as_ref() != Some(&(policy.kind, policy.name.clone()));
        own.extend(user.policies.iter().filter(other).map(|policy| format!("policy {}", policy.name)));
        if !own.is_empty() {
            let text = format!(
                "the operator adopts no user with permissions or keys of its own ({}): remove them first; or leave out user and policy, and get a new user; or keep the user and its key with --secret",
                own.join(", ")
            );
            self.note("user", &text);
        }
    }

    /// Leaves out what the operator would refuse, and only observes what it would change.
    fn settle(&mut self, found: &Found<'_>) {
        let mut refused = resolve(&self.object, found.account).err().unwrap_or_default();
        for error in &refused {
            let field = error.field.trim_start_matches("spec.");
            let setting = SettingId::ALL.iter().copied().find(|setting| field.starts_with(setting.field()));
            if let Some(setting) = setting {
                let mut settings = self.take();
                settings.clear(setting);
                self.put(settings);
                self.note(setting.field(), &format!("left out, and stays as it is: {}", error.message));
            }
        }
        let desired = match resolve(&self.object, found.account) {
            Ok(desired) => desired,
            Err(left) => {
                refused = left;
                refused.iter().for_each(|error| self.note(&error.field, &error.message));
                return;
            }
        };
        for change in desired.bucket.settings.changes(found.live).0 {
            let own = format!("{}[{TAG_PREFIX}", SettingId::BucketTags.field());
            let differing: Vec<_> = change.diffs.iter().filter(|diff| !diff.path.starts_with(&own)).collect();
            let foreign = change.blocked.iter().chain(&change.foreign).cloned();
            let shown = |[live, desired]: [String; 2]| format!("{live}, and not {desired}");
            let all = differing.iter().map(|diff| format!("{} is {}", diff.path, shown(diff.shown(VALUE_LENGTH))));
            let texts: Vec<_> = all.chain(foreign).collect();
            if !texts.is_empty() {
                let name = change.setting.name();
                // The operator tags what it adopts: it cannot only observe tags.
                if change.setting != SettingId::BucketTags {
                    self.object.spec.management.insert(name.to_owned(), ManagementMode::Observe);
                }
                self.note("management", &format!("{name} is only observed, because {}", texts.join("; ")));
            }
        }
    }

    /// The YAML document, with the notes as comments.
    pub fn yaml(&self, found: &Found<'_>) -> Result<String, String> {
        let Account { id, partition } = found.account;
        let mut text = format!(
            "# What exists in AWS: bucket {} in {}, account {id} ({partition}).\n# Adopting it adds the operator's ownership tags. The AWSAccount {} must allow:\n",
            found.bucket, found.region, self.object.spec.account_ref.name
        );
        let always = [
            format!("bucket.name {}", found.bucket),
            format!("preset {}", self.object.spec.preset),
            "adoption.buckets".to_owned(),
        ];
        for need in always.iter().chain(&self.needs) {
            text += &format!("# - {}\n", printable(need));
        }
        if !self.notes.is_empty() {
            text += "# Read this before you apply it:\n";
            self.notes.iter().for_each(|note| text += &format!("# - {}\n", printable(note)));
        }
        Ok(text
            + &yaml::document(&self.object, self.namespace.as_deref())
                .map_err(|error| format!("{}: {error}", self.object.name_any()))?)
    }
}

#[cfg(test)]
mod tests;
