//! CEL rules that several fields of the API have in common.

/// The field cannot be changed.
pub const IMMUTABLE: &str = "self == oldSelf";
/// A DNS subdomain, as Kubernetes names objects.
pub const OBJECT_NAME: &str = "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')";
/// The code of an AWS region.
pub const REGION: &str = "self.matches('^[a-z]{2,4}(-[a-z]+)+-[0-9]+$')";
/// The name of an IAM user or policy.
pub const IAM_NAME: &str = "self.matches('^[A-Za-z0-9+=,.@_-]+$')";
/// The path of an IAM user or policy.
pub const IAM_PATH: &str = "self.matches('^/([A-Za-z0-9+=,.@_-]+/)*$')";
/// The ARN of a managed policy, of a customer or of AWS.
pub const POLICY_ARN: &str = "self.matches('^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$')";
/// The ARN of a KMS key; an alias is none.
pub const KMS_KEY_ARN: &str = "self.matches('^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$')";
/// The conditions of a policy statement.
pub const CONDITIONS: &str = "self.all(operator, size(operator) <= 64 && self[operator].all(key, size(key) <= 256))";
