//! Who may do what, as the API server judges it.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use super::Cluster;

/// Somebody who asks the API server for something.
#[derive(Clone, Debug)]
pub struct Subject {
    user: String,
    groups: Vec<String>,
}

impl Subject {
    /// A person.
    #[must_use]
    pub fn person(name: &str) -> Self {
        Self {
            user: name.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
        }
    }

    /// A service account.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }

    /// Its name, as `--as` takes it.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl Cluster {
    /// Whether somebody may do something: what `kubectl auth can-i <verb> <resource>.<group>` asks. The empty namespace stands for all at
    /// once, and for kinds that are in none.
    pub async fn may(
        &self,
        who: &Subject,
        verb: &str,
        (resource, group): (&str, &str),
        namespace: &str,
    ) -> Result<bool> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let question = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(who.user.clone()),
                groups: Some(who.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    verb: Some(verb.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource: Some(subresource.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client().clone());
        let answer = api.create(&PostParams::default(), &question).await?;
        Ok(answer.status.context("the API server gives no answer")?.allowed)
    }
}
