//! A registry whose database the operator makes: what its objects are called, whose they are, and what is wrong with what was asked for. Pure.

use std::collections::BTreeMap;

use dataembassy_contract::{Reason, database};
use dataembassy_crds::{
    ActivatedRegistry, ActivationMode, EmbassyActivation, ManagedDatabase, PostgresqlTls, SecretRef, Target,
    TlsMode,
};
use jiff::Timestamp;
use jiff::civil::Date;

use super::names::Names;
use super::{Standing, certificate};
use crate::labels::DATABASE;

/// A registry whose database the operator makes.
#[derive(Clone, Copy, Debug)]
pub struct Managed<'a> {
    /// The activation that it is made for.
    pub activation: &'a EmbassyActivation,
    /// The registry.
    pub registry: &'a ActivatedRegistry,
    /// What was asked for.
    pub spec: &'a ManagedDatabase,
    /// Whose it is, where an activation of the same name has left it, which is gone.
    pub left: Option<Left<'a>>,
}

/// The marks of a database whose activation is gone. They stay: a claim's can never change.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// The UID of that activation.
    pub uid: &'a str,
    /// When it was made.
    pub made_at: Timestamp,
}

impl<'a> Managed<'a> {
    /// The one of a registry, if its target is a managed database.
    #[must_use]
    pub fn of(activation: &'a EmbassyActivation, registry: &'a ActivatedRegistry) -> Option<Self> {
        Some(Self {
            activation,
            registry,
            spec: registry.target.managed.as_ref()?,
            left: None,
        })
    }
}

impl Managed<'_> {
    /// What its objects are called.
    #[must_use]
    pub fn names(&self) -> Names {
        let tls = self.spec.tls_ref.as_ref().map(|secret| secret.name.as_str());
        let service = self.spec.service.as_deref();
        Names::new(self.activation_name(), &self.registry.id, service, tls)
    }

    /// Where a restore finds it, and as whom. The database in it is made by the restore, like the source's.
    #[must_use]
    pub fn target(&self) -> Target {
        let names = self.names();
        Target {
            host: format!("{}.{}.svc", names.internal, self.namespace()),
            port: i32::from(database::PORT),
            database: self.spec.database.as_ref().unwrap_or(&self.registry.id).clone(),
            create_if_missing: true,
            tls: PostgresqlTls {
                mode: TlsMode::VerifyFull,
                ca_ref: SecretRef {
                    name: names.authority,
                },
            },
            credentials_ref: SecretRef {
                name: names.superuser,
            },
        }
    }

    /// The labels that a `RegistryRestore` needs, so that its pod is let in.
    #[must_use]
    pub fn restore_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(DATABASE.to_owned(), self.names().instance)])
    }

    /// The last day on which the operator's own certificate counts; none where one was named.
    #[must_use]
    pub fn certificate_ends(&self) -> Option<Date> {
        let made = self.spec.tls_ref.is_none().then(|| self.made_at())?;
        Some(certificate::validity(made).1)
    }

    /// The names that the server is called by, for its certificate.
    pub(super) fn host_names(&self) -> Vec<String> {
        let (names, namespace) = (self.names(), self.namespace());
        let forms = |name: &str| {
            [
                name.to_owned(),
                format!("{name}.{namespace}"),
                format!("{name}.{namespace}.svc"),
                format!("{name}.{namespace}.svc.cluster.local"),
            ]
        };
        forms(&names.public)
            .into_iter()
            .chain(forms(&names.internal))
            .collect()
    }

    pub(super) fn activation_name(&self) -> &str {
        self.activation.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &str {
        self.activation.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        if let Some(left) = &self.left {
            return left.uid;
        }
        self.activation.metadata.uid.as_deref().unwrap_or_default()
    }

    /// When the activation was made: it never changes, so all that is counted from it stays the same too.
    pub(super) fn made_at(&self) -> Timestamp {
        if let Some(left) = &self.left {
            return left.made_at;
        }
        let made = self.activation.metadata.creation_timestamp.as_ref();
        made.map_or_else(Timestamp::now, |time| time.0)
    }

    pub(super) fn rehearses(&self) -> bool {
        self.activation.spec.mode == ActivationMode::Rehearse
    }

    /// What is wrong with the names, where something is.
    pub(super) fn judge(&self) -> Option<Standing> {
        let names = self.names();
        let id = &self.registry.id;
        let message = if names.public == names.internal {
            format!(
                "registries[{id}].target.managed.service is {}, which is the name of the Service that the restore uses: choose another one",
                names.public
            )
        } else if names.public.starts_with(|letter: char| letter.is_ascii_digit()) {
            format!(
                "a Service's name begins with a letter, and {id} does not: set registries[{id}].target.managed.service"
            )
        } else {
            return None;
        };
        Some(Standing::Refused {
            reason: Reason::InvalidName,
            message,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An activation of one registry on a managed database with these settings.
    pub(in super::super) fn activation(registry: &str, settings: &Value) -> EmbassyActivation {
        let mut managed = json!({"image": "postgres:17", "storage": "10Gi"});
        for (name, value) in settings.as_object().unwrap() {
            managed[name] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "EmbassyActivation",
            "metadata": {"name": "day", "namespace": "abroad", "uid": "uid-day", "creationTimestamp": "2026-11-28T09:00:00Z"},
            "spec": {
                "embassyRef": {"name": "luxembourg"}, "mode": "Activate", "validUntil": "2026-12-01T12:00:00Z",
                "registries": [{
                    "id": registry, "retrievalCredentialsRef": {"name": "r"}, "identityRef": {"name": "i"},
                    "target": {"managed": managed},
                }],
            }
        }))
        .unwrap()
    }

    fn of(activation: &EmbassyActivation) -> Managed<'_> {
        Managed::of(activation, &activation.spec.registries[0]).unwrap()
    }

    #[test]
    fn a_service_that_cannot_bear_its_name_is_refused_before_anything_is_made() {
        for (registry, settings, expected) in [
            ("population", json!({}), None),
            ("population", json!({"service": "people"}), None),
            ("2026-census", json!({"service": "census"}), None),
            (
                "population",
                json!({"service": "day-population-db"}),
                Some("is the name of the Service that the restore uses"),
            ),
            (
                "2026-census",
                json!({}),
                Some("begins with a letter, and 2026-census does not"),
            ),
        ] {
            let activation = activation(registry, &settings);
            match (of(&activation).judge(), expected) {
                (None, None) => {}
                (Some(Standing::Refused { reason, message }), Some(words)) => {
                    assert_eq!(reason, Reason::InvalidName);
                    assert!(message.contains(words), "{message}");
                }
                (found, _) => panic!("{registry} {settings}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_database_is_its_activations_or_that_ones_whose_heir_this_one_is() {
        let activation = activation("population", &json!({}));
        let own = of(&activation);
        assert_eq!(
            (own.uid(), own.made_at().to_string().as_str()),
            ("uid-day", "2026-11-28T09:00:00Z")
        );
        assert_eq!((own.activation_name(), own.namespace()), ("day", "abroad"));
        assert!(!own.rehearses());
        let left = Left {
            uid: "uid-before",
            made_at: "2026-10-01T09:00:00Z".parse().unwrap(),
        };
        let heir = Managed {
            left: Some(left),
            ..own
        };
        assert_eq!((heir.uid(), heir.made_at()), ("uid-before", left.made_at));
        assert_eq!(
            heir.certificate_ends(),
            Some(certificate::validity(left.made_at).1)
        );
        assert_ne!(heir.certificate_ends(), own.certificate_ends());
        let mut rehearsed = activation.clone();
        rehearsed.spec.mode = ActivationMode::Rehearse;
        assert!(of(&rehearsed).rehearses());
    }

    #[test]
    fn a_certificate_is_made_for_every_name_that_the_server_is_called_by() {
        let activation = activation("population", &json!({"service": "people"}));
        let expected = [
            "people",
            "people.abroad",
            "people.abroad.svc",
            "people.abroad.svc.cluster.local",
            "day-population-db",
            "day-population-db.abroad",
            "day-population-db.abroad.svc",
            "day-population-db.abroad.svc.cluster.local",
        ];
        assert_eq!(of(&activation).host_names(), expected);
    }
}
