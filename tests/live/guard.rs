//! What comes before every other call: which account, which region, which parts; and whether the credentials belong to
//! that account. `sts:GetCallerIdentity` needs no permission and changes nothing.

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::ProvideCredentials;
use aws_types::service_config::ServiceConfigKey;
use bucketconnection::sdk;

use super::clients::fail;
use super::names::Run;

/// The parts of a run, in their order.
pub const PARTS: [&str; 4] = ["defaults", "timing", "contract", "life"];

/// What the caller asks for, by environment variables.
#[derive(Debug)]
pub struct Options {
    pub account: String,
    pub region: String,
    pub parts: Vec<&'static str>,
    /// Whether the operator runs with the caller's credentials, not as a user with exactly the operator's policy.
    pub own_credentials: bool,
    /// The contract suite runs every so many cases.
    pub every: usize,
    /// Whether reports show the account id.
    pub show_account: bool,
    /// Whether `make live-clean` deletes without a question.
    pub yes: bool,
    /// The only run that `make live-clean` deletes.
    pub run: Option<Run>,
}

/// The caller, after the check.
pub struct Caller {
    pub config: SdkConfig,
    pub arn: String,
    pub partition: String,
    /// Whether AWS is an emulator on this machine.
    pub emulated: bool,
}

impl Options {
    /// Reads the environment.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let account = get("ACCOUNT")
            .filter(|text| !text.is_empty())
            .ok_or("ACCOUNT is missing: set it to the 12 digits of the AWS account")?;
        if account.len() != 12 || !account.chars().all(|c| c.is_ascii_digit()) {
            return Err(format!("ACCOUNT={account}: is not an account id; set it to the 12 digits of the AWS account"));
        }
        let region =
            get("REGION").filter(|text| !text.is_empty()).ok_or("REGION is missing: set it to a region such as eu-west-1")?;
        let parts: Vec<_> = region.split('-').collect();
        let letters = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase());
        let (number, words) = parts.split_last().ok_or("REGION is empty")?;
        if words.len() < 2 || !words.iter().all(letters) || number.parse::<u8>().is_err() {
            return Err(format!("REGION={region}: is not a region; set it to a region such as eu-west-1"));
        }
        let wanted = get("PARTS").filter(|text| !text.is_empty()).unwrap_or_else(|| PARTS.join(","));
        let unknown = wanted.split(',').find(|part| !PARTS.contains(part));
        if let Some(part) = unknown {
            return Err(format!("PARTS={wanted}: no part {part}; the parts are {}", PARTS.join(", ")));
        }
        let own_credentials = match get("OPERATOR_CREDENTIALS").as_deref() {
            None | Some("") => false,
            Some("own") => true,
            Some(other) => return Err(format!("OPERATOR_CREDENTIALS={other}: set it to own, or leave it out")),
        };
        let every = get("EVERY").filter(|text| !text.is_empty()).unwrap_or_else(|| "1".to_owned());
        let every = every.parse().ok().filter(|every| *every > 0).ok_or(format!("EVERY={every}: is not a number above 0"))?;
        let run = get("RUN").filter(|text| !text.is_empty());
        let run = run.map(|id| Run::of(&format!("{id}-x")).filter(|run| run.id() == id).ok_or(id));
        let run = run.transpose().map_err(|id| format!("RUN={id}: is not the id of a run, such as bc-live-qhzkvwmrta"))?;
        Ok(Self {
            run,
            every,
            account,
            region,
            parts: PARTS.into_iter().filter(|part| wanted.split(',').any(|name| name == *part)).collect(),
            own_credentials,
            show_account: get("SHOW_ACCOUNT").as_deref() == Some("1"),
            yes: get("YES").as_deref() == Some("1"),
        })
    }
}

/// Signs in, and refuses every account but the one of the options.
pub async fn sign_in(options: &Options) -> Result<Caller, String> {
    let config = sdk::environment().await.map_err(|error| error.to_string())?;
    let config = config.to_builder().region(Region::new(options.region.clone())).build();
    one_server(&config)?;
    let provider = config.credentials_provider().ok_or("no AWS credentials: sign in, then try again")?;
    if let Err(error) = provider.provide_credentials().await {
        return Err(format!("no AWS credentials in the environment or in ~/.aws ({error}): sign in, then try again"));
    }
    let identity = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
    let identity =
        identity.map_err(|error| format!("AWS does not accept the credentials: {}", fail("sts:GetCallerIdentity", &error)))?;
    let (account, arn) = (identity.account().unwrap_or_default(), identity.arn().unwrap_or_default());
    refusal(account, arn, options).map_or(Ok(()), Err)?;
    let partition = arn.split(':').nth(1).unwrap_or("aws").to_owned();
    let emulated = config.endpoint_url().is_some_and(is_loopback);
    Ok(Caller { arn: arn.to_owned(), partition, emulated, config })
}

/// Refuses a service with an endpoint of its own, in the environment or in the profile: the identity that one server
/// reports means nothing to another one.
fn one_server(config: &SdkConfig) -> Result<(), String> {
    for service in ["STS", "IAM", "S3"] {
        let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
        let key = key.map_err(|error| error.to_string())?;
        let url = config.service_config().and_then(|services| services.load_config(key));
        if url.as_deref() != config.endpoint_url() {
            return Err(format!(
                "{service} has an endpoint of its own: unset AWS_ENDPOINT_URL_{service}, and remove it from the services of the AWS profile, because all services must be those of one account"
            ));
        }
    }
    Ok(())
}

/// Why these credentials are not used.
pub fn refusal(account: &str, arn: &str, options: &Options) -> Option<String> {
    if account != options.account {
        return Some(format!(
            "the credentials belong to account {account}, not to ACCOUNT={}: nothing was read or changed; sign in to that account",
            options.account
        ));
    }
    let root = "these are credentials of the root user: nothing was read or changed; sign in as a user or role with deploy/iam/live-policy.json";
    arn.ends_with(":root").then(|| root.to_owned())
}

fn is_loopback(url: &str) -> bool {
    ["http://127.0.0.1:", "http://localhost:"].iter().any(|prefix| url.starts_with(prefix))
}
