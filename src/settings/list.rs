//! What is made of the list of settings: the types of spec, wish, answer and write, and all that goes through the list.

/// Declares the settings, in the order in which they are written to a bucket.
macro_rules! settings {
    ($(in $group:ident { $($(#[$doc:meta])* $name:ident: $variant:ident,)* })*) => {
        $(settings!(@spec $group { $($(#[$doc])* $name: $variant,)* });)*

        /// What is wanted of each setting; `None` is left alone.
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub struct Desired { $($(pub $name: Option<<$name::$variant as Setting>::Desired>,)*)* }

        /// What AWS answered for each setting.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub struct Live { $($(pub $name: Reading<<$name::$variant as Setting>::Live>,)*)* }

        impl Live {
            /// The reads that failed.
            pub fn problems(&self) -> Vec<Problem> {
                let mut problems = Vec::new();
                $($(
                    if let Reading::Unreadable(problem) = &self.$name {
                        problems.push(problem.clone());
                    }
                )*)*
                problems
            }
        }

        /// A setting, by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub enum SettingId { $($($variant,)*)* }

        impl SettingId {
            /// All settings, in the order in which they are written to a bucket.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// What is known of it.
            pub fn facts(self) -> Facts {
                match self { $($(Self::$variant => Facts::of::<$name::$variant>(),)*)* }
            }
        }

        /// A write of each setting, as it goes over the wire.
        pub fn examples() -> Vec<Example<Write>> {
            vec![$($(<$name::$variant as Setting>::example().map(Write::$variant),)*)*]
        }

        /// A write to one setting.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub enum Write { $($($variant(<$name::$variant as Setting>::Write),)*)* }

        impl Write {
            /// The setting that it is for.
            pub fn setting(&self) -> SettingId {
                match self { $($(Self::$variant(_) => SettingId::$variant,)*)* }
            }

            /// What in it may be why AWS refused it.
            pub fn hint(&self, problem: &Problem) -> Option<String> {
                match self {
                    $($(Self::$variant(write) => <$name::$variant as Setting>::hint(write, problem),)*)*
                }
            }
        }

        impl Specs<'_> {
            /// What the settings name or weaken that an account must allow.
            pub fn reaches(&self) -> Vec<Reach> {
                let mut reaches = Vec::new();
                $($(reaches.extend(self.$group.$name.iter().flat_map(<$name::$variant as Setting>::reaches));)*)*
                reaches
            }
        }

        impl Desired {
            /// What is wanted by a spec; problems with it go to `errors` as (field, text).
            pub fn resolve(specs: &Specs<'_>, context: &Context<'_>, errors: &mut Vec<(String, String)>) -> Self {
                let mut desired = Self::default();
                $($(
                    match <$name::$variant as Setting>::desired(specs.$group.$name.as_ref(), context) {
                        Ok(value) => desired.$name = value,
                        Err(text) => errors.push((<$name::$variant as Setting>::FIELD.to_owned(), text)),
                    }
                )*)*
                desired
            }

            /// The managed settings.
            pub fn managed(&self) -> Vec<SettingId> {
                let mut managed = Vec::new();
                $($(managed.extend(self.$name.as_ref().map(|_| SettingId::$variant));)*)*
                managed
            }

            /// Leaves those settings alone that are `ignored`. Tags are looked at all the same: they tell whose a bucket is.
            pub fn ignore(&mut self, ignored: impl Fn(SettingId) -> bool) {
                $($(
                    if SettingId::$variant != SettingId::BucketTags && ignored(SettingId::$variant) {
                        self.$name = None;
                    }
                )*)*
            }

            /// The same for a bucket that is adopted: what others have under names of the spec is replaced.
            pub fn adopting(&self) -> Self {
                let mut desired = self.clone();
                $($(
                    if let Some(desired) = &mut desired.$name {
                        <$name::$variant as Setting>::adopt(desired);
                    }
                )*)*
                desired
            }

            /// What is ours in the managed settings that are shared with others: short name, condition, names.
            pub fn owned(&self) -> Vec<(&'static str, ConditionType, Vec<String>)> {
                let mut owned = Vec::new();
                $($(
                    if let Some(desired) = &self.$name {
                        let names = <$name::$variant as Setting>::owned(desired);
                        owned.push((SettingId::$variant.name(), <$name::$variant as Setting>::PART, names));
                    }
                )*)*
                owned
            }

            /// What is wanted of the managed settings: short name, and the same value for the same wish.
            pub fn wanted(&self) -> Vec<(&'static str, Value)> {
                let mut wanted = Vec::new();
                $($(
                    if let Some(desired) = &self.$name {
                        wanted.push((SettingId::$variant.name(), serde_json::json!(desired)));
                    }
                )*)*
                wanted
            }

            /// What has to change in `live`, and what could not be read.
            pub fn changes(&self, live: &Live) -> (Vec<SettingChange>, Vec<(SettingId, Problem)>) {
                let (mut changes, mut unread) = (Vec::new(), Vec::new());
                $($(
                    if let Some(desired) = &self.$name {
                        let change = match &live.$name {
                            Reading::NotLooked => None,
                            Reading::Unset => <$name::$variant as Setting>::change(desired, None),
                            Reading::Set(live) => <$name::$variant as Setting>::change(desired, Some(live)),
                            Reading::Unreadable(problem) => {
                                unread.push((SettingId::$variant, problem.clone()));
                                None
                            }
                        };
                        changes.extend(change.map(|change| settings!(@change $name $variant change)));
                    }
                )*)*
                (changes, unread)
            }
        }

        impl Live {
            /// What S3 gives a bucket, before anybody has set anything.
            pub fn of_new_bucket() -> Self {
                Self { $($($name: <$name::$variant as Setting>::of_new_bucket().into(),)*)* }
            }

            /// What is there once `write` is done.
            pub fn apply(&mut self, write: &Write) {
                match write {
                    $($(Write::$variant(write) => self.$name = <$name::$variant as Setting>::after(write).into(),)*)*
                }
            }

            /// The same with only the managed settings, as one reading of the bucket gives it.
            pub fn managed(&self, desired: &Desired) -> Self {
                Self { $($($name: desired.$name.as_ref().map_or(Reading::NotLooked, |_| self.$name.clone()),)*)* }
            }
        }

        #[cfg(feature = "operator")]
        mod wires {
            use super::*;
            use crate::sdk::BucketCalls;

            /// Reads `settings`, all in parallel.
            pub async fn read(bucket: &BucketCalls<'_>, settings: &[SettingId]) -> Live {
                $($(
                    let $name = async {
                        if !settings.contains(&SettingId::$variant) {
                            return Reading::NotLooked;
                        }
                        $name::wire::read(bucket).await.map_or_else(Reading::Unreadable, Reading::from)
                    };
                )*)*
                let ($($($name,)*)*) = futures::join!($($($name,)*)*);
                Live { $($($name,)*)* }
            }

            /// Sends one write.
            pub async fn write(bucket: &BucketCalls<'_>, write: &Write) -> Result<(), Problem> {
                match write {
                    $($(Write::$variant(write) => $name::wire::write(bucket, write).await,)*)*
                }
            }
        }
        #[cfg(feature = "operator")]
        pub use wires::{read, write};
    };
    (@spec spec { $($(#[$doc:meta])* $name:ident: $variant:ident,)* }) => {
        /// Settings that stand at the top of the spec.
        #[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub struct SpecSettings { $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<<$name::$variant as Setting>::Spec>,)* }
    };
    (@spec bucket { $($(#[$doc:meta])* $name:ident: $variant:ident,)* }) => {
        /// Settings that stand under `bucket`.
        #[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub struct BucketSettings { $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<<$name::$variant as Setting>::Spec>,)* }
    };
    (@change $name:ident $variant:ident $change:ident) => {
        SettingChange {
            setting: SettingId::$variant,
            diffs: $change.diffs,
            weakens: $change.weakens,
            blocked: $change.blocked,
            foreign: $change.foreign,
            adds: $change.adds,
            write: Write::$variant($change.write),
        }
    };
}

pub(super) use settings;
