//! The caller: from the key id and signature of a request, with the permissions that the service sees at that moment.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Call;
use super::evaluate::{Context, Effect, Question, effect};
use super::state::{LastUse, Owner, PARTITION, Rights, Session, State};
use super::wire::{Refusal, refuse};

/// The parts of an Authorization header.
pub struct Signed {
    pub key: String,
    pub date: String,
    pub region: String,
    pub service: String,
    headers: Vec<String>,
    signature: String,
}

impl Signed {
    pub fn of(request: &Request<Bytes>) -> Option<Self> {
        let text = request.headers().get("authorization")?.to_str().ok()?;
        let part = |name: &str| {
            let rest = text.split(name).nth(1)?.strip_prefix('=')?;
            Some(rest.split(',').next().unwrap_or_default().trim())
        };
        let mut scope = part("Credential")?.split('/').map(str::to_owned);
        Some(Self {
            key: scope.next()?,
            date: scope.next()?,
            region: scope.next()?,
            service: scope.next()?,
            headers: part("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: part("Signature")?.to_owned(),
        })
    }

    /// Whether `secret` made the signature (AWS Signature Version 4).
    pub fn by(&self, secret: &str, request: &Request<Bytes>) -> bool {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut query: Vec<_> = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).collect();
        query.sort_unstable();
        let query: Vec<_> =
            query.into_iter().map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }).collect();
        let mut canonical = format!("{}\n{}\n{}\n", request.method(), request.uri().path(), query.join("&"));
        for name in &self.headers {
            let host = || request.uri().authority().map(|authority| authority.as_str()).unwrap_or_default();
            let value = if name == "host" && header("host").is_empty() { host() } else { header(name) };
            let value: Vec<_> = value.split_whitespace().collect();
            canonical += &format!("{name}:{}\n", value.join(" "));
        }
        let sent = header("x-amz-content-sha256");
        let hash = if sent.is_empty() { hex(&Sha256::digest(request.body())) } else { sent.to_owned() };
        canonical += &format!("\n{}\n{hash}", self.headers.join(";"));
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", header("x-amz-date"), hex(&Sha256::digest(canonical.as_bytes())));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [&self.date, &self.region, &self.service, "aws4_request"] {
            key = mac(&key, part);
        }
        hex(&mac(&key, &text)) == self.signature
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The caller.
pub struct Caller {
    pub account: String,
    pub arn: String,
    pub id: String,
    rights: Option<Limits>,
}

struct Limits {
    rights: Rights,
    user: String,
    user_arn: String,
    session: Option<Session>,
}

impl Caller {
    /// Determines the caller, and records the use of the key.
    pub fn of(state: &mut State, signed: &Signed, call: &Call<'_>) -> Result<Self, Refusal> {
        let Call { request, now, behaviour, .. } = call;
        let (now, service) = (*now, signed.service.as_str());
        let unknown = || {
            let code = if service == "s3" { "InvalidAccessKeyId" } else { "InvalidClientTokenId" };
            refuse(403, code, "The key id provided does not exist in our records.")
        };
        let forged = || refuse(403, "SignatureDoesNotMatch", "The signature does not match the one that was calculated.");
        if let Some(session) = state.sessions.get(&signed.key) {
            let token = request.headers().get("x-amz-security-token").and_then(|token| token.to_str().ok());
            // Federated sessions cannot call IAM.
            if token != Some(&session.token) || service == "iam" {
                return unknown();
            }
            if session.expires <= now {
                return refuse(400, "ExpiredToken", "The provided token has expired.");
            }
            if !signed.by(&session.secret, request) {
                return forged();
            }
            return Ok(Self::federated(state, session, service, now));
        }
        let Some(key) = state.keys.get(&signed.key).filter(|key| key.works.seen(service, now) == Some(&true)) else {
            return unknown();
        };
        if !signed.by(&key.secret, request) {
            return forged();
        }
        let caller = match &key.owner {
            Owner::Admin { account, arn } => {
                Self { account: account.clone(), arn: arn.clone(), id: account.clone(), rights: None }
            }
            Owner::User { account, id, name, arn } => {
                let rights = state.rights(id, service, now);
                let rights = Some(Limits { rights, user: name.clone(), user_arn: arn.clone(), session: None });
                Self { account: account.clone(), arn: arn.clone(), id: id.clone(), rights }
            }
        };
        let used = LastUse { at: now, service: service.to_owned(), region: signed.region.clone() };
        let told = now + behaviour.last_uses.draw(&mut state.rng);
        let key = state.keys.get_mut(&signed.key).unwrap();
        key.told_use.set(used.clone(), told, told);
        key.told_use.forget(now);
        key.last_used = Some(used);
        Ok(caller)
    }

    fn federated(state: &State, session: &Session, service: &str, now: Timestamp) -> Self {
        let owner = state.keys.values().map(|key| &key.owner).find_map(|owner| match owner {
            Owner::User { id, name, arn, .. } if *id == session.user => Some((name.clone(), arn.clone())),
            _ => None,
        });
        let (user, user_arn) = owner.unwrap_or_default();
        let rights = state.rights(&session.user, service, now);
        Self {
            account: session.account.clone(),
            arn: format!("arn:{PARTITION}:sts::{}:federated-user/{}", session.account, session.name),
            id: format!("{}:{}", session.account, session.name),
            rights: Some(Limits { rights, user, user_arn, session: Some(session.clone()) }),
        }
    }

    /// The user's id, if the key itself may request federation tokens.
    pub fn user(&self) -> Option<&str> {
        self.rights.as_ref().filter(|limits| limits.session.is_none()).map(|_| self.id.as_str())
    }

    /// Whether the caller's own policies allow it. Root and operator may do everything in their account.
    pub fn may(&self, action: &str, resource: &str, more: &[(&str, String)], now: Timestamp) -> Effect {
        let Some(Limits { rights, session, .. }) = &self.rights else { return Effect::Allow };
        let context = self.context(more, now);
        let question = Question { action, resource, context: &context };
        let mut layers = vec![effect(&rights.identity, &question, None)];
        layers.extend(rights.boundary.iter().map(|boundary| effect([boundary], &question, None)));
        layers.extend(session.iter().map(|session| effect(&session.policy, &question, None)));
        if layers.contains(&Effect::Deny) {
            Effect::Deny
        } else if layers.iter().all(|layer| *layer == Effect::Allow) {
            Effect::Allow
        } else {
            Effect::Silent
        }
    }

    /// The effect of the bucket policy on the caller.
    pub fn by_resource(
        &self,
        policy: &serde_json::Value,
        action: &str,
        resource: &str,
        more: &[(&str, String)],
        now: Timestamp,
    ) -> Effect {
        let Some(limits) = &self.rights else { return Effect::Silent };
        let context = self.context(more, now);
        let root = format!("arn:{PARTITION}:iam::{}:root", self.account);
        let names = [self.arn.as_str(), &limits.user_arn, &self.account, &root];
        // A grant to the account is a grant to its administrators, who delegate it: for its users only denials count.
        let own = &names[..2];
        let question = Question { action, resource, context: &context };
        match effect([policy], &question, Some(&names)) {
            Effect::Allow => effect([policy], &question, Some(own)),
            other => other,
        }
    }

    fn context(&self, more: &[(&str, String)], now: Timestamp) -> Context {
        let mut context: Context = more.iter().map(|(key, value)| (key.to_lowercase(), value.clone())).collect();
        let mut put = |key: &str, value: String| context.insert(key.to_lowercase(), value);
        put("aws:PrincipalArn", self.arn.clone());
        put("aws:PrincipalAccount", self.account.clone());
        put("aws:userid", self.id.clone());
        put("aws:CurrentTime", now.to_string());
        put("aws:SecureTransport", "true".to_owned());
        put("s3:TlsVersion", "1.3".to_owned());
        if let Some(limits) = &self.rights {
            put("aws:username", limits.user.clone());
            for (key, value) in &limits.rights.tags {
                put(&format!("aws:PrincipalTag/{key}"), value.clone());
            }
            if let Some(session) = &limits.session {
                put("aws:TokenIssueTime", session.issued.to_string());
            }
        }
        context
    }
}

impl State {
    fn rights(&self, user: &str, service: &str, now: Timestamp) -> Rights {
        self.principals.get(user).and_then(|rights| rights.seen(service, now)).cloned().unwrap_or_default()
    }
}
