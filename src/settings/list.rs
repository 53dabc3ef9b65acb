//! What is generated from the list of settings: the types of spec, desired state, answer and write, and all functions
//! over all settings.

/// Declares the settings, in the order in which they are written to a bucket.
macro_rules! settings {
    ($(in $group:ident { $($(#[$doc:meta])* $name:ident: $variant:ident,)* })*) => {
        $(settings!(@spec $group { $($(#[$doc])* $name: $variant,)* });)*

        /// The desired state of each setting; `None` leaves it as it is.
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

        /// Identifies a setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub enum SettingId { $($($variant,)*)* }

        impl SettingId {
            /// All settings, in the order in which they are written to a bucket.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// Its constants.
            pub fn facts(self) -> Facts {
                match self { $($(Self::$variant => Facts::of::<$name::$variant>(),)*)* }
            }
        }

        /// A write of each setting, and its form on the wire.
        pub fn examples() -> Vec<Example<Write>> {
            vec![$($(<$name::$variant as Setting>::example().map(Write::$variant),)*)*]
        }

        /// A write to one setting.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub enum Write { $($($variant(<$name::$variant as Setting>::Write),)*)* }

        impl Write {
            /// The setting that it changes.
            pub fn setting(&self) -> SettingId {
                match self { $($(Self::$variant(_) => SettingId::$variant,)*)* }
            }

            /// The part of it that could be why AWS refused it.
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
            /// The desired state for a spec; problems with the spec go to `errors` as (field, text).
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

            /// Leaves the settings that are `ignored` as they are. Tags are read in any case: they name the owner of a
            /// bucket.
            pub fn ignore(&mut self, ignored: impl Fn(SettingId) -> bool) {
                $($(
                    if SettingId::$variant != SettingId::BucketTags && ignored(SettingId::$variant) {
                        self.$name = None;
                    }
                )*)*
            }

            /// The same for a bucket that is adopted: foreign parts with names that the spec lists are replaced.
            pub fn adopting(&self) -> Self {
                let mut desired = self.clone();
                $($(
                    if let Some(desired) = &mut desired.$name {
                        <$name::$variant as Setting>::adopt(desired);
                    }
                )*)*
                desired
            }

            /// What is managed in the managed settings that also have foreign parts: short name, condition, names.
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

            /// The desired state of the managed settings: short name, and a value that is equal for equal desired
            /// states.
            pub fn wanted(&self) -> Vec<(&'static str, Value)> {
                let mut wanted = Vec::new();
                $($(
                    if let Some(desired) = &self.$name {
                        wanted.push((SettingId::$variant.name(), serde_json::json!(desired)));
                    }
                )*)*
                wanted
            }

            /// The changes that `live` needs, and what could not be read.
            pub fn changes(&self, live: &Live) -> (Vec<SettingChange>, Vec<(SettingId, Problem)>) {
                let (mut changes, mut unread) = (Vec::new(), Vec::new());
                $($(
                    if let Some(desired) = &self.$name {
                        let change = match &live.$name {
                            Reading::NotRead => None,
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

        /// The specs of the settings of a bucket.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct ImportedSettings {
            /// Settings at the top of the spec.
            pub spec: SpecSettings,
            /// Settings under `bucket`.
            pub bucket: BucketSettings,
            /// What no spec can express.
            pub lost: Vec<(SettingId, String)>,
        }

        impl ImportedSettings {
            /// Leaves out a setting.
            pub fn clear(&mut self, setting: SettingId) {
                match setting { $($(SettingId::$variant => self.$group.$name = None,)*)* }
            }
        }

        impl Live {
            /// The specs that describe these settings. What is not set is left out.
            pub fn imported(&self) -> ImportedSettings {
                let mut all = ImportedSettings::default();
                $($(
                    if let Reading::Set(live) = &self.$name {
                        let imported = <$name::$variant as Setting>::imported(live);
                        all.$group.$name = imported.spec;
                        all.lost.extend(imported.lost.into_iter().map(|text| (SettingId::$variant, text)));
                    }
                )*)*
                all
            }

            /// The settings of a new bucket.
            pub fn of_new_bucket() -> Self {
                Self { $($($name: <$name::$variant as Setting>::of_new_bucket().into(),)*)* }
            }

            /// Applies `write`.
            pub fn apply(&mut self, write: &Write) {
                match write {
                    $($(Write::$variant(write) => self.$name = <$name::$variant as Setting>::after(write).into(),)*)*
                }
            }

            /// The same with only the managed settings, as one read of the bucket returns them.
            pub fn managed(&self, desired: &Desired) -> Self {
                Self { $($($name: desired.$name.as_ref().map_or(Reading::NotRead, |_| self.$name.clone()),)*)* }
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
                            return Reading::NotRead;
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
        /// Settings at the top of the spec.
        #[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs, reason = "the module of each setting documents it")]
        pub struct SpecSettings { $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<<$name::$variant as Setting>::Spec>,)* }
    };
    (@spec bucket { $($(#[$doc:meta])* $name:ident: $variant:ident,)* }) => {
        /// Settings under `bucket`.
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
            losses: $change.losses,
            blocked: $change.blocked,
            foreign: $change.foreign,
            adds: $change.adds,
            write: Write::$variant($change.write),
        }
    };
}

pub(super) use settings;
