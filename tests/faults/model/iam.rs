//! IAM: users and their keys. Policies: `policies`.

use std::sync::Arc;

use jiff::Timestamp;

use super::caller::Caller;
use super::evaluate::Effect;
use super::state::{Iam, Key, KeyEntry, Named, Owner, PARTITION, Spread, State, Tags, User};
use super::wire::{Answer, Refusal, element, refuse, result};
use super::{Call, groups, policies, unknown};

const KEYS_PER_USER: usize = 2;

pub(super) fn answer(state: &mut State, call: &Call<'_>, caller: &Caller) -> Answer {
    allowed(state, call, caller)?;
    let mut iam = Request { state, call, caller };
    let answer = match call.action.split(':').nth(1).unwrap_or_default() {
        "CreateUser" => iam.create_user(),
        "GetUser" => iam.get_user(),
        "ListUsers" => iam.list_users(),
        "DeleteUser" => iam.delete_user(),
        "TagUser" | "UntagUser" => iam.tag_user(),
        "PutUserPermissionsBoundary" | "DeleteUserPermissionsBoundary" => iam.bound_user(),
        "CreateAccessKey" => iam.create_key(),
        "ListAccessKeys" => iam.list_keys(),
        "UpdateAccessKey" => iam.update_key(),
        "DeleteAccessKey" => iam.delete_key(),
        "GetAccessKeyLastUsed" => iam.last_used(),
        name if name.contains("Group") => groups::answer(&mut iam),
        _ => policies::answer(&mut iam),
    };
    if answer.is_ok() && call.is_write() {
        let policy = call.parameter("PolicyArn").map(Named::Policy);
        if let Some(named) = call.parameter("UserName").map(Named::User).or(policy) {
            state.spread_rights(&caller.account, named, call.now, &call.behaviour);
        }
    }
    answer
}

fn allowed(state: &State, call: &Call<'_>, caller: &Caller) -> Result<(), Refusal> {
    let arn = format!("arn:{PARTITION}:iam::{}", caller.account);
    let resource = match (call.parameter("UserName"), call.parameter("PolicyArn")) {
        (Some(name), _) => {
            let known = state.accounts.get(&caller.account).and_then(|account| account.now.user(name));
            known.map_or_else(|| format!("{arn}:user{}{name}", call.parameter("Path").unwrap_or("/")), |user| user.arn.clone())
        }
        (None, Some(policy)) => policy.to_owned(),
        (None, None) => "*".to_owned(),
    };
    if caller.may(&call.action, &resource, &[], call.now) == Effect::Allow {
        return Ok(());
    }
    let (who, action) = (&caller.arn, &call.action);
    refuse(403, "AccessDenied", format!("User: {who} is not authorized to perform: {action} on resource: {resource}"))
}

/// One request to IAM.
pub(super) struct Request<'a> {
    pub state: &'a mut State,
    pub call: &'a Call<'a>,
    pub caller: &'a Caller,
}

impl<'a> Request<'a> {
    /// IAM as a read sees it, which may lag behind.
    pub fn read(&mut self) -> Arc<Iam> {
        let age = self.call.behaviour.reads.draw(&mut self.state.rng);
        self.state.read(&self.caller.account, self.call.now, age.unsigned_abs())
    }

    /// IAM as writes see it.
    pub fn current(&self) -> Arc<Iam> {
        self.state.accounts.get(&self.caller.account).map(|account| account.now.clone()).unwrap_or_default()
    }

    pub fn change(&mut self) -> &mut Iam {
        let lag = !self.call.behaviour.reads.most.is_zero();
        self.state.iam(&self.caller.account, self.call.now, lag)
    }

    pub fn needed(&self, name: &str) -> Result<&'a str, Refusal> {
        self.call.parameter(name).map_or_else(|| refuse(400, "ValidationError", format!("{name} is missing")), Ok)
    }

    pub fn done(&self) -> Answer {
        result(&self.call.action, "")
    }

    pub fn arn(&self, kind: &str, path: &str, name: &str) -> String {
        format!("arn:{PARTITION}:iam::{}:{kind}{path}{name}", self.caller.account)
    }

    /// The user that a read names.
    pub fn seen_user(&mut self) -> Result<User, Refusal> {
        let name = self.needed("UserName")?;
        self.read().user(name).cloned().map_or_else(|| no_user(name), Ok)
    }

    /// The user that a write names, to be changed.
    pub fn user(&mut self) -> Result<&mut User, Refusal> {
        let name = self.needed("UserName")?;
        let Some(user) = self.current().user(name).cloned() else { return no_user(name) };
        let unknown = self.call.behaviour.new_users.draw(&mut self.state.rng);
        if user.created + unknown > self.call.now {
            return no_user(name);
        }
        Ok(self.change().users.get_mut(&name.to_lowercase()).unwrap())
    }

    /// Tags in the form.
    pub fn tags(&self) -> Tags {
        (1..)
            .map_while(|n| {
                let key = self.call.parameter(&format!("Tags.member.{n}.Key"))?;
                let value = self.call.parameter(&format!("Tags.member.{n}.Value")).unwrap_or_default();
                Some((key.to_owned(), value.to_owned()))
            })
            .collect()
    }

    pub fn tag_keys(&self) -> Vec<String> {
        (1..).map_while(|n| self.call.parameter(&format!("TagKeys.member.{n}")).map(str::to_owned)).collect()
    }

    fn create_user(&mut self) -> Answer {
        let name = self.needed("UserName")?;
        if !(1..=64).contains(&name.len()) || !name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c)) {
            return refuse(400, "ValidationError", format!("{name} is no valid user name"));
        }
        if self.current().user(name).is_some() {
            return refuse(409, "EntityAlreadyExists", format!("User with name {name} already exists."));
        }
        let path = self.call.parameter("Path").unwrap_or("/");
        let boundary = self.boundary()?;
        let user = User {
            name: name.to_owned(),
            path: path.to_owned(),
            id: self.state.id("AIDA", 17),
            arn: self.arn("user", path, name),
            created: self.call.now,
            tags: self.tags(),
            boundary,
            inline: Default::default(),
            attached: Vec::new(),
            groups: Default::default(),
            keys: Vec::new(),
        };
        let shown = shown_user(&user, true);
        self.change().users.insert(name.to_lowercase(), user);
        result(&self.call.action, &format!("<User>{shown}</User>"))
    }

    fn boundary(&self) -> Result<Option<String>, Refusal> {
        let Some(arn) = self.call.parameter("PermissionsBoundary") else { return Ok(None) };
        if !self.current().policies.contains_key(arn) && !arn.contains("::aws:") {
            return refuse(404, "NoSuchEntity", format!("Scope ARN: {arn} does not exist or is not attachable."));
        }
        Ok(Some(arn.to_owned()))
    }

    fn bound_user(&mut self) -> Answer {
        let boundary = self.boundary()?;
        self.user()?.boundary = boundary;
        self.done()
    }

    fn get_user(&mut self) -> Answer {
        let user = self.seen_user()?;
        result(&self.call.action, &format!("<User>{}</User>", shown_user(&user, true)))
    }

    fn list_users(&mut self) -> Answer {
        let prefix = self.call.parameter("PathPrefix").unwrap_or("/");
        let iam = self.read();
        let users = iam.users.values().filter(|user| user.path.starts_with(prefix));
        let members: String = users.map(|user| format!("<member>{}</member>", shown_user(user, false))).collect();
        result(&self.call.action, &format!("<Users>{members}</Users><IsTruncated>false</IsTruncated>"))
    }

    fn delete_user(&mut self) -> Answer {
        let user = self.user()?;
        let conflict = |what: &str| refuse(409, "DeleteConflict", format!("Cannot delete entity, must {what} first."));
        if !user.keys.is_empty() {
            return conflict("delete access keys");
        }
        if !user.inline.is_empty() {
            return conflict("delete policies");
        }
        if !user.attached.is_empty() {
            return conflict("detach all policies");
        }
        if !user.groups.is_empty() {
            return conflict("remove users from group");
        }
        let name = user.name.to_lowercase();
        self.change().users.remove(&name);
        self.done()
    }

    fn tag_user(&mut self) -> Answer {
        let (set, removed) = (self.tags(), self.tag_keys());
        let user = self.user()?;
        user.tags.extend(set);
        user.tags.retain(|key, _| !removed.contains(key));
        self.done()
    }

    fn create_key(&mut self) -> Answer {
        let (id, secret) = (self.state.id("AKIA", 16), self.state.secret());
        let now = self.call.now;
        let user = self.user()?;
        if user.keys.len() >= KEYS_PER_USER {
            return refuse(409, "LimitExceeded", format!("Cannot exceed quota for AccessKeysPerUser: {KEYS_PER_USER}"));
        }
        let entry = KeyEntry { id: id.clone(), active: true, created: now };
        let shown = element("UserName", &user.name) + &shown_key(&entry) + &element("SecretAccessKey", &secret);
        user.keys.push(entry);
        let (user_id, name, arn) = (user.id.clone(), user.name.clone(), user.arn.clone());
        let owner = Owner::User { account: self.caller.account.clone(), id: user_id, name, arn };
        let created_by = self.caller.arn.clone();
        let key = Key {
            id: id.clone(),
            secret,
            owner,
            created_by,
            created: now,
            works: Spread::new(),
            last_used: None,
            told_use: Spread::new(),
        };
        self.state.keys.insert(id.clone(), key);
        self.spread_key(&id, true);
        result(&self.call.action, &format!("<AccessKey>{shown}</AccessKey>"))
    }

    fn spread_key(&mut self, id: &str, works: bool) {
        let Call { behaviour, now, .. } = self.call;
        let delay = if works { behaviour.new_keys } else { behaviour.old_keys };
        let (s3, others) = (delay.draw(&mut self.state.rng), delay.draw(&mut self.state.rng));
        self.state.keys.get_mut(id).unwrap().works.set(works, *now + s3, *now + others);
    }

    fn list_keys(&mut self) -> Answer {
        let user = self.seen_user()?;
        let name = element("UserName", &user.name);
        let members: String = user.keys.iter().map(|key| format!("<member>{name}{}</member>", shown_key(key))).collect();
        result(&self.call.action, &format!("<AccessKeyMetadata>{members}</AccessKeyMetadata><IsTruncated>false</IsTruncated>"))
    }

    fn update_key(&mut self) -> Answer {
        let (id, status) = (self.needed("AccessKeyId")?, self.needed("Status")?);
        if !["Active", "Inactive"].contains(&status) {
            return refuse(400, "ValidationError", format!("{status} is no status"));
        }
        let Some(key) = self.user()?.keys.iter_mut().find(|key| key.id == id) else { return no_key(id) };
        key.active = status == "Active";
        self.spread_key(id, status == "Active");
        self.done()
    }

    fn delete_key(&mut self) -> Answer {
        let id = self.needed("AccessKeyId")?;
        let user = self.user()?;
        if !user.keys.iter().any(|key| key.id == id) {
            return no_key(id);
        }
        user.keys.retain(|key| key.id != id);
        self.spread_key(id, false);
        self.done()
    }

    fn last_used(&mut self) -> Answer {
        let id = self.needed("AccessKeyId")?;
        let exists =
            self.read().users.values().find(|user| user.keys.iter().any(|key| key.id == id)).map(|user| user.name.clone());
        let Some(name) = exists else { return no_key(id) };
        let used = self.state.keys[id].told_use.seen("iam", self.call.now);
        let at = used.map(|used| element("LastUsedDate", &time(used.at))).unwrap_or_default();
        let (service, region) = used.map_or(("N/A", "N/A"), |used| (used.service.as_str(), used.region.as_str()));
        let inner = at + &element("ServiceName", service) + &element("Region", region);
        result(&self.call.action, &format!("{}<AccessKeyLastUsed>{inner}</AccessKeyLastUsed>", element("UserName", &name)))
    }

    pub fn unknown<T>(&self) -> Result<T, Refusal> {
        unknown(self.call)
    }
}

fn no_user<T>(name: &str) -> Result<T, Refusal> {
    refuse(404, "NoSuchEntity", format!("The user with name {name} cannot be found."))
}

fn no_key<T>(id: &str) -> Result<T, Refusal> {
    refuse(404, "NoSuchEntity", format!("The Access Key with id {id} cannot be found."))
}

/// Times in AWS's format: whole seconds.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn shown_tags(tags: &Tags) -> String {
    let members = tags.iter().map(|(key, value)| format!("<member>{}{}</member>", element("Key", key), element("Value", value)));
    format!("<Tags>{}</Tags>", members.collect::<String>())
}

/// Lists do not show everything.
fn shown_user(user: &User, whole: bool) -> String {
    let mut text = element("Path", &user.path)
        + &element("UserName", &user.name)
        + &element("UserId", &user.id)
        + &element("Arn", &user.arn)
        + &element("CreateDate", &time(user.created));
    if whole {
        text += &shown_tags(&user.tags);
        if let Some(arn) = &user.boundary {
            let inner = element("PermissionsBoundaryType", "Policy") + &element("PermissionsBoundaryArn", arn);
            text += &format!("<PermissionsBoundary>{inner}</PermissionsBoundary>");
        }
    }
    text
}

fn shown_key(key: &KeyEntry) -> String {
    element("AccessKeyId", &key.id)
        + &element("Status", if key.active { "Active" } else { "Inactive" })
        + &element("CreateDate", &time(key.created))
}
