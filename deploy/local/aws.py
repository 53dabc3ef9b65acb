"""The local AWS: a moto server with IAM enforcement, corrected where its answers differ from AWS.

moto (https://github.com/getmoto/moto) implements the real wire protocol, verifies signatures and evaluates policies. This file
corrects the differences from AWS at start, so that none of them reaches the operator; `CORRECTIONS` is the complete list.
The patched names are not a public interface: moto is pinned exactly, and a missing name stops the server at once.

When the server is ready, it prints one line of JSON: its URL, its process id, and the keys of the administrator and of the
operator's own user, which has exactly the policy in deploy/iam/operator-policy.json. The state is in memory only.

With --copies it is a server of servers, for tests: it forks one for each connection. Most of the CPU time of a start is the import
of moto, which the copies have already.
"""

import argparse
import ctypes
import datetime
import gc
import io
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import sys
import threading
import urllib.parse

os.environ.setdefault("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")

import moto  # noqa: E402  (the environment must be set first)
import moto.core.exceptions as core_exceptions  # noqa: E402
import moto.iam.access_control as access_control  # noqa: E402
import moto.iam.models as iam  # noqa: E402
import moto.iam.responses as iam_responses  # noqa: E402
import moto.s3.exceptions as s3_exceptions  # noqa: E402
import moto.s3.models as s3  # noqa: E402
import moto.s3.responses as s3_responses  # noqa: E402
import moto.sts.models as sts  # noqa: E402
import xmltodict  # noqa: E402
from botocore.auth import S3SigV4QueryAuth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from flask import request as flask_request  # noqa: E402
from moto import settings  # noqa: E402
from moto.core.responses import EmptyResult  # noqa: E402
from moto.iam.exceptions import DeleteConflictException  # noqa: E402
from moto.moto_api._internal import mock_random  # noqa: E402
from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.utilities.utils import get_partition  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

PINNED = "5.2.5"
ACCOUNT = "123456789012"
SECOND_ACCOUNT, EXTERNAL_ID = "210987654321", "lab-7"
# One set of users in each partition that the operator can use, so that tests can use regions of all of them.
PARTITION_HOMES = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
CORRECTIONS = []


def correction(apply):
    """Registers a function as a correction; corrections run in the order of this file."""
    CORRECTIONS.append(apply)
    return apply


def replace(owner, name, make):
    """Replaces `owner.name` with `make(original)`; fails if the pinned moto has no such name."""
    setattr(owner, name, make(getattr(owner, name)))


@correction
def new_buckets_have_s3_defaults():
    """AWS: since April 2023 a new bucket blocks public access, is encrypted with SSE-S3, and is BucketOwnerEnforced. moto: sets nothing."""

    def make(original):
        def init(self, *args, **kwargs):
            original(self, *args, **kwargs)
            self.public_access_block = s3.PublicAccessBlock("true", "true", "true", "true")
            self.encryption = sse_s3()
            self.ownership_rule = "BucketOwnerEnforced"

        return init

    replace(s3.FakeBucket, "__init__", make)


def sse_s3():
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}
    return {"Rule": {**default, "BlockedEncryptionTypes": {"EncryptionType": "SSE-C"}}}


@correction
def blocked_encryption_types_are_told():
    """AWS: GetBucketEncryption returns the blocked types; SSE-C on new buckets, since April 2026. moto: accepts but does not return them."""

    def make(original):
        def get_bucket_encryption(self):
            status, headers, body = original(self)
            rule = self.backend.get_bucket_encryption(self.bucket_name)["Rule"]
            types = (rule.get("BlockedEncryptionTypes") or {}).get("EncryptionType") or []
            told = "".join(f"<EncryptionType>{kind}</EncryptionType>" for kind in (types if isinstance(types, list) else [types]))
            text = body.decode() if isinstance(body, bytes) else body
            blocked = f"<BlockedEncryptionTypes>{told}</BlockedEncryptionTypes></Rule>"
            return status, headers, text.replace("</Rule>", blocked) if told else text

        return get_bucket_encryption

    replace(s3_responses.S3Response, "get_bucket_encryption", make)


@correction
def deleted_encryption_falls_back_to_sse_s3():
    """AWS: a bucket is never unencrypted, and DeleteBucketEncryption resets it to SSE-S3. moto: unsets it."""

    def make(_original):
        def delete_bucket_encryption(self, bucket_name):
            self.get_bucket(bucket_name).encryption = sse_s3()

        return delete_bucket_encryption

    replace(s3.S3Backend, "delete_bucket_encryption", make)


@correction
def create_bucket_reads_its_tags():
    """AWS: CreateBucket accepts tags, and with tags answers BucketAlreadyOwnedByYou in us-east-1 too. moto: ignores tags, answers 200."""

    def make(original):
        def put(self, request, bucket_name, querystring):
            if querystring:
                return original(self, request, bucket_name, querystring)
            tags = tags_in(self.body)
            backend = self.backend
            existing = s3.s3_backends.bucket_accounts.get(bucket_name)
            if tags and existing and existing[1] == self.get_current_account():
                self._set_action("BUCKET", "PUT", querystring)
                self._authenticate_and_authorize_s3_action(bucket_name=bucket_name)
                raise s3_exceptions.BucketAlreadyOwnedByYou(bucket_name=bucket_name)
            answer = original(self, request, bucket_name, querystring)
            if tags:
                backend.put_bucket_tagging(bucket_name, tags)
            return answer

        return put

    replace(s3_responses.S3Response, "_bucket_response_put", make)


def tags_in(body):
    if not body:
        return {}
    configuration = xmltodict.parse(body).get("CreateBucketConfiguration") or {}
    tags = (configuration.get("Tags") or {}).get("Tag") or []
    return {tag["Key"]: tag.get("Value") or "" for tag in (tags if isinstance(tags, list) else [tags])}


@correction
def s3_actions_have_their_iam_names():
    """AWS: HeadBucket needs s3:ListBucket, and each sub-resource its own action. moto: HeadBucket, ListBucket, CreateBucket."""
    actions = s3_responses.ACTION_MAP["BUCKET"]
    named = {
        "HEAD": {"DEFAULT": "ListBucket"},
        "GET": {
            "encryption": "GetEncryptionConfiguration",
            "publicAccessBlock": "GetBucketPublicAccessBlock",
            "ownershipControls": "GetBucketOwnershipControls",
            "object-lock": "GetBucketObjectLockConfiguration",
        },
        "PUT": {
            "encryption": "PutEncryptionConfiguration",
            "publicAccessBlock": "PutBucketPublicAccessBlock",
            "ownershipControls": "PutBucketOwnershipControls",
            "object-lock": "PutBucketObjectLockConfiguration",
        },
        "DELETE": {
            "encryption": "PutEncryptionConfiguration",
            "publicAccessBlock": "PutBucketPublicAccessBlock",
            "ownershipControls": "PutBucketOwnershipControls",
        },
    }
    for method, names in named.items():
        actions[method] = {**names, **{k: v for k, v in actions[method].items() if k not in names}}


# Settings that moto does not have: the sub-resource, the part after Get and Put in its IAM actions, and the answer if it is not set.
KEPT = {
    "requestPayment": ("BucketRequestPayment", "RequestPaymentConfiguration"),
    "intelligent-tiering": ("IntelligentTieringConfiguration", "ListBucketIntelligentTieringConfigurationsOutput"),
}


@correction
def settings_that_moto_does_not_have_are_kept():
    """AWS: a read returns what was sent. moto: does not have these settings, and treats such a call as one on the whole bucket."""
    actions = s3_responses.ACTION_MAP["BUCKET"]
    for method, verb in (("GET", "Get"), ("PUT", "Put"), ("DELETE", "Put")):
        actions[method] = {**{sub: verb + name for sub, (name, _) in KEPT.items()}, **actions[method]}

        def make(original, method=method):
            def respond(self, *args):
                sub = next((sub for sub in KEPT if sub in args[-1]), None)
                if sub is None:
                    return original(self, *args)
                self._set_action("BUCKET", method, args[-1])
                self._authenticate_and_authorize_s3_action(bucket_name=self.bucket_name)
                kept = self.backend.get_bucket(self.bucket_name).__dict__.setdefault("kept", {}).setdefault(sub, {})
                # A bucket has many of some, by id: a read without an id lists them.
                (one,), root = args[-1].get("id", [""]), KEPT[sub][1]
                if method == "GET":
                    body = kept.get("") or f"<{root}>{''.join(kept.values())}</{root}>"
                    return 200, {"content-type": "application/xml"}, body
                kept.pop(one, None)
                if method == "PUT":
                    kept[one] = self.body.decode() if isinstance(self.body, bytes) else self.body
                return 200 if method == "PUT" else 204, {}, ""

            return respond

        replace(s3_responses.S3Response, f"_bucket_response_{method.lower()}", make)


@correction
def deleting_objects_is_checked_against_the_objects():
    """AWS: DeleteObjects needs s3:DeleteObject on each object, or s3:DeleteObjectVersion, and its answer lists those that the caller
    may not delete. moto: needs s3:DeleteObject on the bucket, which no policy for objects allows."""
    refused = threading.local()

    def make_post(original):
        def post(self, request, bucket_name):
            self.path = self._get_path(request)
            if not self.is_delete_keys():
                return original(self, request, bucket_name)
            objects = xmltodict.parse(self.body, strip_whitespace=False)["Delete"].get("Object", [])
            objects = objects if isinstance(objects, list) else [objects]
            refused.arns = set()

            class Deletion(access_control.S3IAMRequest):
                def check_action_permitted(self, bucket_arn):
                    for item in objects:
                        self._action = "s3:DeleteObjectVersion" if item.get("VersionId") else "s3:DeleteObject"
                        try:
                            super().check_action_permitted(f"{bucket_arn}/{item['Key']}")
                        except s3_exceptions.BucketAccessDeniedError:
                            refused.arns.add(f"arn:aws:s3:::{bucket_name}/{item['Key']}")

            self.data["Action"] = "DeleteObject"
            self._authenticate_and_authorize_action(Deletion, f"arn:{get_partition(self.region)}:s3:::{bucket_name}")
            try:
                return self._bucket_response_delete_keys(bucket_name)
            finally:
                refused.arns = set()

        return post

    def make_permission(original):
        def get_permission(self, action, resource):
            if resource in getattr(refused, "arns", ()):
                return access_control.PermissionResult.DENIED
            return original(self, action, resource)

        return get_permission

    replace(s3_responses.S3Response, "_bucket_response_post", make_post)
    replace(s3.FakeBucket, "get_permission", make_permission)


@correction
def s3_checks_region_and_owner():
    """AWS: redirects calls for a bucket in another region (301), and denies a wrong x-amz-expected-bucket-owner. moto: answers 200."""

    def make(original):
        def respond(self, request, full_url):
            name = self.parse_bucket_name_from_url(request, full_url)
            known = s3.s3_backends.bucket_accounts.get(name) if name else None
            if known:
                bucket = s3.s3_backends[known[1]][known[0]].buckets.get(name)
                creates = request.method == "PUT" and not request.args
                scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", request.headers.get("Authorization", ""))
                if bucket and scope and scope[1] != bucket.region_name and not creates:
                    body = "" if request.method == "HEAD" else redirect(name, bucket.region_name)
                    return 301, {"x-amz-bucket-region": bucket.region_name, "content-type": "application/xml"}, body
                owner = request.headers.get("x-amz-expected-bucket-owner")
                if bucket and owner and owner != bucket.account_id:
                    raise s3_exceptions.BucketAccessDeniedError(bucket=name)
            return original(self, request, full_url)

        return respond

    replace(s3_responses.S3Response, "_bucket_response", make)


def redirect(bucket, region):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to '
        "access must be addressed using the specified endpoint. Please send all future requests to this endpoint.</Message>"
        f"<Endpoint>{bucket}.s3.{region}.amazonaws.com</Endpoint><Bucket>{bucket}</Bucket></Error>"
    )


@correction
def bucket_policies_deny_only_where_they_apply():
    """AWS: ignores a statement whose condition is not met. moto: every statement with a condition denies, since it has no values
    to compare. Loopback connections have no TLS either, so this ignores statements with conditions."""

    def make(original):
        def get_permission(self, action, resource):
            whole = self.policy
            if whole is None:
                return original(self, action, resource)
            document = json.loads(whole)
            statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
            kept = [statement for statement in statements if not statement.get("Condition")]
            self.policy = json.dumps({**document, "Statement": kept}).encode()
            try:
                return original(self, action, resource)
            finally:
                self.policy = whole

        return get_permission

    replace(s3.FakeBucket, "get_permission", make)


@correction
def log_delivery_may_be_allowed_in_a_list():
    """AWS: a list of one equals its item, and the policy may have other principals too. moto: compares only plain strings."""

    def one(value):
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    def make(original):
        def enabled(target_bucket, target_prefix):
            whole = target_bucket.policy
            if whole is None:
                return False
            statements = [s for s in json.loads(whole)["Statement"] if isinstance(s.get("Principal"), dict)]
            for statement in statements:
                statement["Principal"] = {kind: one(names) for kind, names in statement["Principal"].items()}
                statement["Resource"] = one(statement.get("Resource"))
            target_bucket.policy = json.dumps({"Statement": statements}).encode()
            try:
                return original(target_bucket, target_prefix)
            finally:
                target_bucket.policy = whole

        return staticmethod(enabled)

    replace(s3.FakeBucket, "_log_permissions_enabled_policy", make)


@correction
def answers_have_the_roots_of_the_api():
    """AWS: <VersioningConfiguration> and similar elements. moto: uses other names for some, which the Rust SDK refuses."""
    roots = {
        "GetBucketVersioningResponse": "VersioningConfiguration",
        "GetBucketAccelerateConfigurationResponse": "AccelerateConfiguration",
        "GetBucketLoggingResponse": "BucketLoggingStatus",
    }

    def make(original):
        def get(self, bucket_name, querystring):
            answer = original(self, bucket_name, querystring)
            if not isinstance(answer, tuple):
                return answer
            status, headers, body = answer
            text = body.decode() if isinstance(body, bytes) else body
            for wrong, right in roots.items():
                text = re.sub(rf"(</?){wrong}\b", rf"\1{right}", text)
            return status, headers, text

        return get

    replace(s3_responses.S3Response, "_bucket_response_get", make)


@correction
def lifecycle_rules_are_kept_as_they_are_sent():
    """AWS: returns all that was sent, and the default minimum size for transitions. moto: drops NewerNoncurrentVersions and that size."""
    header = "x-amz-transition-default-minimum-object-size"

    def make_put(original):
        def put(self, request, bucket_name, querystring):
            answer = original(self, request, bucket_name, querystring)
            if "lifecycle" in querystring:
                size = request.headers.get(header, "all_storage_classes_128K")
                self.backend.get_bucket(bucket_name).lifecycle_as_sent = (self.body, size)
            return answer

        return put

    def make_get(original):
        def get(self, bucket_name, querystring):
            answer = original(self, bucket_name, querystring)
            bucket = self.backend.get_bucket(bucket_name)
            if "lifecycle" in querystring and bucket.rules and getattr(bucket, "lifecycle_as_sent", None):
                body, size = bucket.lifecycle_as_sent
                return 200, {header: size, "content-type": "application/xml"}, body
            return answer

        return get

    replace(s3_responses.S3Response, "_bucket_response_put", make_put)
    replace(s3_responses.S3Response, "_bucket_response_get", make_get)


@correction
def acceleration_has_a_state_once_one_was_set():
    """AWS: only a bucket that never had versioning set has no state. moto: ignores Suspended on such a bucket."""

    def make(_original):
        def set_accelerate_configuration(self, state):
            self.accelerate_configuration = state

        return set_accelerate_configuration

    replace(s3.FakeBucket, "set_accelerate_configuration", make)


@correction
def inactive_keys_are_refused():
    """AWS: treats a key that is not Active as unknown. moto: accepts it."""

    def make(original):
        def init(self, *args, **kwargs):
            original(self, *args, **kwargs)
            status = self.backend.get_user(self._owner_user_name).get_access_key_by_id(self._access_key_id).status
            if status != "Active":
                raise access_control.CreateAccessKeyFailure(reason="InvalidId")

        return init

    replace(access_control.IAMUserAccessKey, "__init__", make)


@correction
def signatures_are_checked_over_the_form_that_was_sent():
    """AWS: hashes the body as received. moto: decodes and re-encodes the form first, which differs for ! ( ) * and line breaks."""

    def make(original):
        def init(self, account_id, method, path, data, body, headers, action):
            body = body or flask_request.environ.get(SENT_FORM, b"")
            original(self, account_id, method, path, data, body, headers, action)

        return init

    replace(access_control.IAMRequestBase, "__init__", make)


@correction
def unsigned_requests_are_refused():
    """AWS: 403 MissingAuthenticationToken. moto: looks for the signature, and fails with 500."""

    def make(original):
        def init(self, account_id, method, path, data, body, headers, action):
            if "Authorization" not in headers:
                missing = core_exceptions._RESTError("MissingAuthenticationToken", "Request is missing Authentication Token")
                missing.code = 403
                raise missing
            original(self, account_id, method, path, data, body, headers, action)

        return init

    replace(access_control.IAMRequestBase, "__init__", make)


SENT_FORM = "bucketconnection.sent_form"


def keeping_forms(application):
    """A WSGI application that keeps the original body of each form."""

    def call(environ, start_response):
        if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            form = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ[SENT_FORM], environ["wsgi.input"] = form, io.BytesIO(form)
        return application(environ, start_response)

    return call


@correction
def links_are_checked_as_other_requests_are():
    """AWS: verifies the signature, the time and the permissions of a link. moto: answers 500, because it expects a signature in a header."""

    def make(original):
        def calculate(self):
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self._path).query, keep_blank_values=True))
            if query.pop(LINK, None) is None:
                return original(self)
            signed = datetime.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
            end = signed + datetime.timedelta(seconds=int(query["X-Amz-Expires"]))
            if datetime.datetime.now(datetime.timezone.utc) > end:
                self._raise_access_denied()
            names = query["X-Amz-SignedHeaders"].split(";")
            url, headers = self._path.partition("?")[0], self._create_headers_for_aws_request(names, self._headers)
            request = AWSRequest(method=self._method, url=url, params=query, headers=headers)
            request.context["timestamp"] = query["X-Amz-Date"]
            auth = S3SigV4QueryAuth(self._access_key.create_credentials(), self._service, self._region)
            return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)

        return calculate

    replace(access_control.IAMRequestBase, "_calculate_signature", make)


LINK = "X-Amz-Signature"


def reading_links(application):
    """A WSGI application that has the signature of a link in a header, where moto reads account, region and key."""

    def call(environ, start_response):
        query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        if LINK in query:
            credential, headers = query.get("X-Amz-Credential", ""), query.get("X-Amz-SignedHeaders", "")
            parts = f"Credential={credential}, SignedHeaders={headers}, Signature={query[LINK]}"
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 {parts}"
        return application(environ, start_response)

    return call


@correction
def authentication_errors_have_the_query_protocols_form():
    """AWS: <ErrorResponse><Error>. moto: <ErrorResponse><Errors><Error> if it refuses a key or an action, which hides the code."""

    def make(original):
        def init(self, *args, **kwargs):
            original(self, *args, **kwargs)
            self.description = self.description.replace("<Errors>", "").replace("</Errors>", "")

        return init

    replace(core_exceptions._RESTError, "__init__", make)


@correction
def iam_actions_are_checked_against_their_resource():
    """AWS: a policy can limit iam:CreateUser to one path. moto: checks every IAM action against "*".

    The path of a missing user is unknown, so its ARN has none: only a policy that allows iam:GetUser on every user can
    distinguish "not found" from "denied".
    """

    def make(original):
        def determine(self):
            arn = f"arn:{self.partition}:iam::{self.current_account}"
            user, policy = self._get_param("UserName"), self._get_param("PolicyName")
            action = self._get_action()
            if action == "CreatePolicy":
                return f"{arn}:policy{self._get_param('Path') or '/'}{policy}"
            if self._get_param("PolicyArn") and not user:
                return self._get_param("PolicyArn")
            if action == "CreateUser":
                return f"{arn}:user{self._get_param('Path') or '/'}{user}"
            if action == "GetAccessKeyLastUsed":
                holders = self.backend.users.values()
                owns = (u for u in holders if any(key.access_key_id == self._get_param("AccessKeyId") for key in u.access_keys))
                user = next((u.name for u in owns), None)
            if user:
                known = self.backend.users.get(user)
                return known.arn if known else f"{arn}:user/{user}"
            return original(self)

        return determine

    replace(iam_responses.IamResponse, "_determine_resource", make)


@correction
def only_stars_and_question_marks_are_wild():
    """AWS: only * and ? are special. moto: all characters that are special in regular expressions, such as + and ( )."""

    def make(_):
        def match(pattern, string):
            wild = {"*": ".*", "?": "."}
            return re.fullmatch("".join(wild.get(c) or re.escape(c) for c in pattern), string, re.DOTALL)

        return staticmethod(match)

    replace(access_control.IAMPolicyStatement, "_match", make)


@correction
def listing_is_narrowed_to_a_prefix():
    """AWS: a statement with StringLike on s3:prefix applies only to a listing under that prefix. moto: does not evaluate the condition."""
    asked = threading.local()

    def make_check(original):
        def check_action_permitted(self, resource):
            query = urllib.parse.parse_qs(urllib.parse.urlparse(self._path).query, keep_blank_values=True)
            asked.prefix = query.get("prefix", [None])[0]
            return original(self, resource)

        return check_action_permitted

    def make_statement(original):
        def is_action_permitted(self, action, *args):
            patterns = (self._statement.get("Condition") or {}).get("StringLike", {}).get("s3:prefix")
            patterns = [patterns] if isinstance(patterns, str) else patterns
            prefix = getattr(asked, "prefix", None)
            if patterns and (prefix is None or not any(self._match(pattern, prefix) for pattern in patterns)):
                return access_control.PermissionResult.NEUTRAL
            return original(self, action, *args)

        return is_action_permitted

    replace(access_control.IAMRequestBase, "check_action_permitted", make_check)
    replace(access_control.IAMPolicyStatement, "is_action_permitted", make_statement)


@correction
def a_key_has_no_token_issue_time():
    """AWS: only sessions meet DateLessThan on aws:TokenIssueTime. moto: ignores it, so a Deny of earlier sessions denies everything.

    moto accepts no federation tokens, so a caller with the policies of a user never has a session."""

    def make_statement(original):
        def is_action_permitted(self, action, *args):
            if "aws:TokenIssueTime" in (self._statement.get("Condition") or {}).get("DateLessThan", {}):
                return access_control.PermissionResult.NEUTRAL
            return original(self, action, *args)

        return is_action_permitted

    replace(access_control.IAMPolicyStatement, "is_action_permitted", make_statement)


@correction
def policies_in_use_are_not_deleted():
    """AWS: DeletePolicy of an attached policy, or of one with other versions, answers DeleteConflict. moto: deletes it."""

    def make(original):
        def delete_policy(self, policy_arn):
            policy = self.get_policy(policy_arn)
            holders = [*self.users.values(), *self.roles.values(), *self.groups.values()]
            if any(policy_arn in holder.managed_policies for holder in holders):
                raise DeleteConflictException("Cannot delete a policy attached to entities.")
            if len(policy.versions) > 1:
                raise DeleteConflictException("This policy has more than one version. Before you delete a policy, you must delete its versions.")
            return original(self, policy_arn)

        return delete_policy

    replace(iam.IAMBackend, "delete_policy", make)


@correction
def users_have_permissions_boundaries():
    """AWS: a boundary limits a user's permissions, and GetUser shows it. moto: PutUserPermissionsBoundary fails, CreateUser drops it.

    The only condition that is evaluated is StringNotEquals on aws:PrincipalTag, which deploy/iam/boundary.json needs.
    """

    def bounded(user, arn):
        user.permissions_boundary = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn} if arn else None

    def make_create(original):
        def create_user(self):
            answer = original(self)
            bounded(self.backend.get_user(self._get_param("UserName")), self._get_param("PermissionsBoundary"))
            return answer

        return create_user

    def put_user_permissions_boundary(self):
        bounded(self.backend.get_user(self._get_param("UserName")), self._get_param("PermissionsBoundary"))
        return EmptyResult()

    def within(request, user, arn, resource):
        policy = request.backend.managed_policies.get(arn)
        document = json.loads(next(v.document for v in policy.versions if v.is_default)) if policy else {"Statement": []}
        tags = request.backend.tagger.get_tag_dict_for_resource(user.arn)
        statements = []
        for statement in document["Statement"]:
            wanted = statement.pop("Condition", {}).get("StringNotEquals", {})
            if all(tags.get(key.partition("/")[2]) != value for key, value in wanted.items()):
                statements.append(statement)
        evaluated = access_control.IAMPolicy(json.dumps({"Statement": statements}))
        return evaluated.is_action_permitted(request._action, resource) == access_control.PermissionResult.PERMITTED

    def make_check(original):
        def check_action_permitted(self, resource):
            original(self, resource)
            name = getattr(self._access_key, "_owner_user_name", None)
            user = self.backend.users.get(name)
            boundary = getattr(user, "permissions_boundary", None)
            if boundary and not within(self, user, boundary["PermissionsBoundaryArn"], resource):
                if self._action != "sts:GetCallerIdentity":
                    self._raise_access_denied()

        return check_action_permitted

    replace(iam_responses.IamResponse, "create_user", make_create)
    iam_responses.IamResponse.put_user_permissions_boundary = put_user_permissions_boundary
    replace(access_control.IAMRequestBase, "check_action_permitted", make_check)


@correction
def roles_are_assumed_only_by_whom_they_trust():
    """AWS: denies AssumeRole for a missing role, or without the external ID that its trust policy requires. moto: accepts it."""

    def make(original):
        def assume_role(self, *args, **kwargs):
            account, partition = kwargs["role_arn"].split(":")[4], get_partition(kwargs["region_name"])
            roles = iam.iam_backends[account][partition].roles.values()
            role = next((role for role in roles if role.arn == kwargs["role_arn"]), None)
            statements = json.loads(role.assume_role_policy_document)["Statement"] if role else []
            asked = [s.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId") for s in statements]
            if not any(wanted in (None, kwargs["external_id"]) for wanted in asked):
                raise core_exceptions.AccessDeniedError(user_arn="the caller", action="sts:AssumeRole")
            return original(self, *args, **kwargs)

        return assume_role

    replace(sts.STSBackend, "assume_role", make)


@correction
def parts_are_listed_in_their_own_element():
    """AWS: answers ListParts with a ListPartsResult. moto: with a ListPartsResponse, which strict clients refuse."""

    def make(original):
        def list_parts(self):
            status, headers, body = original(self)
            return status, headers, body.replace("ListPartsResponse", "ListPartsResult")

        return list_parts

    replace(s3_responses.S3Response, "list_parts", make)


@correction
def control_characters_in_keys_are_references():
    """AWS: writes a character that XML cannot contain as a reference, such as &#x1;. moto: writes it as it is, which parsers refuse."""

    def make(original):
        def serialized(self, *args, **kwargs):
            status, headers, body = original(self, *args, **kwargs)
            return status, headers, re.sub(r"[\x00-\x08\x0b-\x1f]", lambda found: f"&#x{ord(found[0]):x};", body)

        return serialized

    replace(s3_responses.S3Response, "serialized", make)


@correction
def a_multipart_upload_has_the_checksum_that_was_sent():
    """AWS: computes CRC64NVME. moto: computes CRC32 in its place without awscrt. Here: the checksum that the client sent, or none."""

    def make(original):
        def complete_multipart_upload(self, *args, **kwargs):
            key = original(self, *args, **kwargs)
            if key is not None and key.checksum_algorithm == "CRC64NVME":
                key.checksum_value = flask_request.headers.get("x-amz-checksum-crc64nvme")
                key.checksum_algorithm = key.checksum_value and key.checksum_algorithm
            return key

        return complete_multipart_upload

    replace(s3.S3Backend, "complete_multipart_upload", make)


def bootstrap(policy_file):
    """Creates the administrator and the operator's user, with the same keys in every partition; returns the two keys."""
    everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    keys = {}
    for partition, region in PARTITION_HOMES.items():
        backend = iam.iam_backends[ACCOUNT][partition]
        policy = pathlib.Path(policy_file).read_text().replace("arn:aws:", f"arn:{partition}:")
        for name, document in (("administrator", everything), ("operator", policy)):
            backend.create_user(region, name, "/", [])
            backend.put_user_policy(name, "policy", document)
            key = backend.create_access_key(name)
            first = keys.setdefault(name, key)
            key.access_key_id, key.secret_access_key = first.access_key_id, first.secret_access_key
            backend.access_keys[key.access_key_id] = key
    second_account(policy_file)
    return {name: {"id": key.access_key_id, "secret": key.secret_access_key} for name, key in keys.items()}


def second_account(policy_file):
    """Creates another account with a role for the operator that requires an external ID, and a role that may assume that role."""
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    asked = {**statement, "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}}
    hop = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": f"arn:aws:iam::{SECOND_ACCOUNT}:role/*"}]})
    roles = ((ACCOUNT, "hop", statement, hop), (SECOND_ACCOUNT, "bucketconnection", asked, pathlib.Path(policy_file).read_text()))
    for account, name, trust, policy in roles:
        backend = iam.iam_backends[account]["aws"]
        trusted = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        backend.create_role(name, trusted, "/", None, "", [], "3600")
        backend.put_role_policy(name, "policy", policy)


def private_ca(directory):
    """Creates a private CA, written to `directory`/ca.pem, and its certificate for localhost; returns the TLS context."""
    import ipaddress
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(common_name, key, issuer_name, issuer_key, *extensions):
        name, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (common_name, issuer_name))
        builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(minutes=1)).not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    is_ca = x509.BasicConstraints(ca=True, path_length=None)
    place = pathlib.Path(directory)
    (place / "ca.pem").write_bytes(certificate("local CA", ca_key, "local CA", ca_key, is_ca))
    (place / "server.pem").write_bytes(certificate("localhost", key, "local CA", ca_key, hosts))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    (place / "server.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "server.pem", place / "server.key")
    return context


def end_with_parent():
    """Asks Linux to end this process with its parent, so that a killed test leaves no server behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def serve_copies():
    """Starts an emulator for each connection, until standard input closes.

    A connection sends the options as a line of JSON and receives the line that a new emulator prints. It keeps its emulator until
    it closes, which the operating system ensures however the test ends.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    print(json.dumps({"address": "%s:%s" % listener.getsockname()}), flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            copy(connection)
        connection.close()


def copy(connection):
    """Serves one connection of `serve_copies`, in a process of its own."""
    # Otherwise all copies would issue the same keys.
    random.seed()
    mock_random.seed()
    options = json.loads(connection.makefile("r").readline())

    def end():
        connection.recv(1)
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    try:
        serve(parsed(options), lambda line: connection.sendall(line.encode()))
    finally:
        os._exit(1)


def parsed(options=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 selects a free port")
    parser.add_argument("--policy", help="policy document of the operator's user")
    parser.add_argument("--plain", action="store_true", help="serve moto without corrections, as another implementation of S3")
    parser.add_argument("--tls", metavar="DIR", help="serve HTTPS with a certificate of a private CA, written to DIR/ca.pem")
    parser.add_argument("--copies", action="store_true", help="fork an emulator for each connection")
    return parser.parse_args(options)


def say(line):
    print(line, end="", flush=True)


def main():
    options = parsed()
    if moto.__version__ != PINNED:
        sys.exit(f"moto {moto.__version__} is installed, but its corrections were written for {PINNED}")
    if options.copies:
        # It ends when standard input closes: Linux would end it with the thread that started it, which is that of the first test.
        serve_copies()
    else:
        serve(options, say)


def serve(options, tell):
    """Runs one emulator; `tell` passes on the line of JSON when it is ready."""
    end_with_parent()
    for apply in CORRECTIONS:
        # Without these, least privilege for the operator could not be enforced at all; everything else is plain moto.
        needed = apply in (
            s3_actions_have_their_iam_names,
            iam_actions_are_checked_against_their_resource,
            authentication_errors_have_the_query_protocols_form,
        )
        if needed or not options.plain:
            apply()
    keys = bootstrap(options.policy)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    application = reading_links(keeping_forms(DomainDispatcherApplication(create_backend_app)))
    tls = private_ca(options.tls) if options.tls else None
    handler = MotoRequestHandler
    server = make_server("127.0.0.1", options.port, application, threaded=True, request_handler=handler, ssl_context=tls)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    url = f"https://localhost:{server.server_port}" if tls else f"http://127.0.0.1:{server.server_port}"
    tell(json.dumps({"url": url, "pid": os.getpid(), "account": ACCOUNT, **keys}) + "\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
