//! What is generated from the kinds is the same as what is committed.
//!
//! `UPDATE_GENERATED=1 cargo test -p dataembassy-crds --test generated` writes the files anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dataembassy_crds::all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compare(path: &str, text: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is not what the code generates: run UPDATE_GENERATED=1 cargo test -p dataembassy-crds --test generated",
        path.display()
    );
}

fn yaml(definition: &CustomResourceDefinition) -> String {
    serde_saphyr::to_string(definition).unwrap()
}

#[test]
fn the_definitions_are_those_that_the_code_generates() {
    for definition in all() {
        compare(
            &format!("crds/{}.yaml", definition.spec.names.plural),
            &yaml(&definition),
        );
    }
}

#[test]
fn the_charts_definitions_are_those_that_the_code_generates() {
    for definition in all() {
        let path = format!(
            "charts/dataembassy/files/crds/{}.yaml",
            definition.spec.names.plural
        );
        compare(&path, &yaml(&definition));
    }
}

#[test]
fn the_reference_is_what_the_code_generates() {
    for definition in all() {
        compare(
            &format!("docs/reference/{}.md", definition.spec.names.plural),
            &reference(&definition),
        );
    }
}

fn reference(definition: &CustomResourceDefinition) -> String {
    let names = &definition.spec.names;
    let version = &definition.spec.versions[0];
    let schema = version
        .schema
        .as_ref()
        .unwrap()
        .open_api_v3_schema
        .as_ref()
        .unwrap();
    let mut page = format!(
        "<!-- Generated from crds/src; do not edit. -->\n# {}\n\n{}\n\n`apiVersion: {}/{}`, scope {}, short name `{}`, category \
         `embassy`.\n\n",
        names.kind,
        schema.description.as_deref().unwrap_or_default(),
        definition.spec.group,
        version.name,
        definition.spec.scope,
        names.short_names.as_ref().unwrap().join("`, `"),
    );
    page.push_str("## Columns\n\n| column | says |\n| --- | --- |\n");
    for column in version.additional_printer_columns.iter().flatten() {
        writeln!(
            page,
            "| `{}` | {} |",
            column.name,
            column.description.as_deref().unwrap_or_default()
        )
        .unwrap();
    }
    page.push_str("\n## Rules\n\n");
    rules(&mut page, "", schema);
    for part in ["spec", "status"] {
        writeln!(
            page,
            "\n## {part}\n\n| field | type | says |\n| --- | --- | --- |"
        )
        .unwrap();
        fields(&mut page, part, &schema.properties.as_ref().unwrap()[part]);
    }
    page
}

fn rules(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("`{path}`: ")
        };
        writeln!(page, "- {place}{}", rule.message.as_deref().unwrap_or(&rule.rule)).unwrap();
    }
    for (name, child) in schema.properties.iter().flatten() {
        let child_path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        rules(page, &child_path, child);
    }
}

fn fields(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    let required = schema.required.clone().unwrap_or_default();
    for (name, child) in schema.properties.iter().flatten() {
        let field = format!("{path}.{name}");
        let must = if required.contains(name) { ", required" } else { "" };
        let text = child
            .description
            .as_deref()
            .unwrap_or_default()
            .replace("\n\n", "<br>")
            .replace('|', "\\|");
        writeln!(page, "| `{field}` | {}{must} | {text} |", kind_of(child)).unwrap();
        fields(page, &field, child);
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &child.items {
            fields(page, &format!("{field}[]"), item);
        }
    }
}

fn kind_of(schema: &JSONSchemaProps) -> String {
    if let Some(words) = &schema.enum_ {
        return words
            .iter()
            .map(|word| format!("`{}`", word.0.as_str().unwrap()))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    match (
        schema.type_.as_deref(),
        &schema.items,
        &schema.additional_properties,
    ) {
        (Some("array"), Some(JSONSchemaPropsOrArray::Schema(item)), _) => {
            format!("list of {}", kind_of(item))
        }
        (Some("object"), _, Some(JSONSchemaPropsOrBool::Schema(item))) => format!("map of {}", kind_of(item)),
        (Some(kind), ..) => kind.to_owned(),
        (None, ..) => "any".to_owned(),
    }
}
