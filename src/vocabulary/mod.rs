//! The words that every room uses: conditions and their reasons, problems, policy statements and what changes of them take away, ways to sign in.
//!
//! Pure, and uses no other room.

pub mod conditions;
pub mod digest;
pub mod documented;
pub mod narrowing;
pub mod policy_language;
pub mod problem;
pub mod rules;
pub mod sign_in;
pub mod wildcard;
