//! Rules that every schema keeps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use dataembassy_crds::all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Calls `look` with every schema of every kind and its path.
fn each_schema(mut look: impl FnMut(&str, &JSONSchemaProps)) {
    fn walk(path: &str, schema: &JSONSchemaProps, look: &mut impl FnMut(&str, &JSONSchemaProps)) {
        look(path, schema);
        for (name, child) in schema.properties.iter().flatten() {
            walk(&format!("{path}.{name}"), child, look);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            walk(&format!("{path}[]"), item, look);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
            walk(&format!("{path}{{}}"), value, look);
        }
    }
    let mut seen = 0;
    for definition in all() {
        for version in &definition.spec.versions {
            let schema = version
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
                .as_ref()
                .unwrap();
            for part in ["spec", "status"] {
                let path = format!("{}.{part}", definition.spec.names.kind);
                walk(
                    &path,
                    &schema.properties.as_ref().unwrap()[part],
                    &mut |path, schema| {
                        seen += 1;
                        look(path, schema);
                    },
                );
            }
        }
    }
    assert!(seen > 100, "only {seen} schemas were looked at");
}

#[test]
fn every_field_is_described_in_sentences() {
    each_schema(|path, schema| {
        let plain_item =
            path.ends_with("[]") && matches!(schema.type_.as_deref(), Some("string" | "integer"));
        let text = schema.description.as_deref().unwrap_or_default();
        assert!(
            plain_item || text.contains('.'),
            "{path} is not described: {text:?}"
        );
    });
}

#[test]
fn every_text_list_map_and_number_is_bounded() {
    each_schema(|path, schema| match schema.type_.as_deref() {
        Some("string") => assert!(
            schema.enum_.is_some() || schema.max_length.is_some(),
            "{path} has no longest text"
        ),
        Some("array") => assert!(schema.max_items.is_some(), "{path} has no most items"),
        Some("integer" | "number") => assert!(schema.minimum.is_some(), "{path} has no least number"),
        Some("object") => {
            let open = schema.properties.is_none();
            assert!(
                !open || schema.max_properties.is_some(),
                "{path} has no most properties"
            );
        }
        Some("boolean") => {}
        other => panic!("{path} has the type {other:?}"),
    });
}

/// The API server refuses a definition whose default breaks the field's own rules; most likely it is a text that is empty by default.
#[test]
fn a_default_text_is_none_that_the_field_would_refuse() {
    each_schema(|path, schema| {
        if schema
            .default
            .as_ref()
            .is_some_and(|default| default.0.as_str() == Some(""))
        {
            let bound =
                schema.format.is_some() || schema.pattern.is_some() || schema.min_length.unwrap_or(0) > 0;
            assert!(!bound, "{path} is empty by default");
        }
    });
}

#[test]
fn every_list_says_how_it_is_merged() {
    each_schema(|path, schema| {
        if schema.type_.as_deref() == Some("array") {
            assert!(schema.x_kubernetes_list_type.is_some(), "{path} has no list type");
        }
    });
}

#[test]
fn no_number_is_unsigned_and_nothing_is_nullable() {
    each_schema(|path, schema| {
        let format = schema.format.as_deref().unwrap_or_default();
        assert!(
            !format.starts_with("uint"),
            "{path} has the format {format}, which the API server warns about"
        );
        assert_eq!(schema.nullable, None, "{path} is nullable");
    });
}

#[test]
fn every_duration_has_the_contracts_pattern() {
    let mut durations = 0;
    each_schema(|path, schema| {
        if schema
            .pattern
            .as_deref()
            .is_some_and(|pattern| pattern.contains("(s|m|h|d)"))
        {
            durations += 1;
            assert_eq!(
                schema.pattern.as_deref(),
                Some(dataembassy_contract::duration::PATTERN),
                "{path}"
            );
        }
    });
    assert!(durations >= 11, "only {durations} durations were looked at");
}

#[test]
fn every_amount_of_bytes_that_the_operator_reads_has_the_contracts_pattern() {
    let mut amounts = 0;
    each_schema(|path, schema| {
        if schema
            .pattern
            .as_deref()
            .is_some_and(|pattern| pattern.ends_with("(Ki|Mi|Gi|Ti)$"))
        {
            amounts += 1;
            assert_eq!(
                schema.pattern.as_deref(),
                Some(dataembassy_contract::quantity::PATTERN),
                "{path}"
            );
        }
    });
    assert_eq!(amounts, 6);
}

#[test]
fn every_kind_answers_are_we_safe_at_a_glance() {
    let columns: Vec<Vec<String>> = all()
        .iter()
        .map(|definition| {
            let version = &definition.spec.versions[0];
            assert!(version.subresources.as_ref().unwrap().status.is_some());
            assert_eq!(
                definition.spec.names.categories.as_deref(),
                Some(&["embassy".to_owned()][..])
            );
            version
                .additional_printer_columns
                .iter()
                .flatten()
                .map(|column| column.name.clone())
                .collect()
        })
        .collect();
    assert_eq!(
        columns[1],
        ["MODE", "PHASE", "APPROVED", "SERVING", "RTO", "IDENTITY", "AGE"]
    );
    assert_eq!(
        columns[2],
        [
            "REGISTRY",
            "SEQ",
            "TAKEN",
            "SIZE",
            "INTACT",
            "DRILLED",
            "LOCKED-UNTIL"
        ]
    );
    assert_eq!(
        columns[3],
        [
            "REGISTRY",
            "LAST-COPY",
            "AGE",
            "WITHIN-RPO",
            "INTACT",
            "DRILLED",
            "LEDGER",
            "READY"
        ]
    );
    assert_eq!(
        columns[4],
        [
            "REGISTRY", "RESULT", "SEQ", "RECOVERY", "ENDED", "NOW", "NEXT", "IDENTITY", "REPORT"
        ]
    );
    assert_eq!(
        columns[5],
        [
            "REGISTRY",
            "EMBASSY",
            "LAST-COPY",
            "AGE",
            "SIZE",
            "WITHIN-RPO",
            "INTACT",
            "READY",
            "NEXT"
        ]
    );
    assert_eq!(
        columns[6],
        [
            "REGISTRY", "SEQ", "TAKEN", "DATABASE", "PHASE", "PROGRESS", "IDENTITY", "AGE"
        ]
    );
}

#[test]
fn a_time_that_may_lie_ahead_is_no_date_column() {
    for definition in all() {
        for column in definition.spec.versions[0]
            .additional_printer_columns
            .iter()
            .flatten()
        {
            assert!(
                column.type_ != "date"
                    || column.json_path.ends_with("takenAt")
                    || column.json_path.ends_with("presentSince")
                    || column.json_path.ends_with("identitySince")
                    || column.json_path == ".metadata.creationTimestamp",
                "{}",
                column.name
            );
        }
    }
}

#[test]
fn every_rule_says_what_is_wrong_and_points_to_a_field_by_a_path() {
    each_schema(|path, schema| {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            assert!(rule.message.is_some(), "{path}: {} has no message", rule.rule);
            let place = rule.field_path.as_deref().unwrap_or(".");
            assert!(
                place.starts_with('.'),
                "{path}: the API server takes no path like {place}"
            );
        }
    });
}

#[test]
fn every_definition_fits_a_quarter_of_what_the_api_server_takes() {
    for definition in all() {
        let size = serde_saphyr::to_string(&definition).unwrap().len();
        assert!(size < 200_000, "{} has {size} bytes", definition.spec.names.kind);
    }
}
