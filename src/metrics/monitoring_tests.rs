//! The dashboard, the alert rules and `docs/MONITORING.md` against the metrics that a node has.

use super::Board;
use super::families::Family;
use super::prometheus::gather;
use ::prometheus::proto::MetricType;
use std::collections::BTreeSet;

/// Metrics that neither the dashboard nor a rule shows, and why.
const NOT_SHOWN: [(&str, &str); 1] = [("hamster_raft_term", "grows only by elections; for reading by hand")];
/// Labels that Prometheus adds.
const LABELS_ADDED: [&str; 3] = ["instance", "job", "le"];
/// Rules are written for this job.
const SCRAPED_AS: &str = "up{job=\"hamster\"}";

fn file(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A query of the dashboard or a rule.
struct Query {
    /// Where it is: a panel's title or an alert's name.
    place: String,
    expr: String,
    /// Labels that its legend or summary names.
    shown: Vec<String>,
}

fn dashboard() -> serde_json::Value {
    serde_json::from_str(&file("packaging/grafana-dashboard.json")).expect("the dashboard is JSON")
}

fn panels(dashboard: &serde_json::Value) -> &[serde_json::Value] {
    dashboard["panels"].as_array().expect("panels")
}

fn dashboard_queries() -> Vec<Query> {
    let of_panel = |panel: &serde_json::Value| {
        let place = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| Query {
            place: place.clone(),
            expr: target["expr"].as_str().expect("an expression").to_owned(),
            shown: braced(target["legendFormat"].as_str().expect("a legend")),
        })
    };
    panels(&dashboard()).iter().flat_map(of_panel).collect()
}

/// What is inside `{{…}}`.
fn braced(text: &str) -> Vec<String> {
    text.split("{{")
        .skip(1)
        .map(|rest| rest.split("}}").next().unwrap_or_default().trim().to_owned())
        .collect()
}

/// An alert rule, one field per line.
struct Rule {
    name: String,
    fields: Vec<(String, String)>,
}

impl Rule {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        &found.unwrap_or_else(|| panic!("{} has no {name}", self.name)).1
    }

    fn query(&self) -> Query {
        let labels = braced(self.field("summary")).into_iter();
        let shown = labels.filter_map(|word| word.strip_prefix("$labels.").map(str::to_owned)).collect();
        Query { place: self.name.clone(), expr: self.field("expr").to_owned(), shown }
    }
}

fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in file("packaging/prometheus-alerts.yml").lines() {
        let Some((field, value)) = line.trim_start_matches([' ', '-']).split_once(": ") else { continue };
        match (field, rules.last_mut()) {
            ("alert", _) => rules.push(Rule { name: value.to_owned(), fields: Vec::new() }),
            (_, Some(rule)) => rule.fields.push((field.to_owned(), value.to_owned())),
            _ => {}
        }
    }
    rules
}

/// The metric that `name` is a series of: a histogram has three.
fn metric<'a>(all: &'a [Family], name: &str) -> Option<&'a Family> {
    all.iter().find(|family| match family.kind {
        MetricType::HISTOGRAM => {
            name.strip_prefix(family.name).is_some_and(|rest| matches!(rest, "_bucket" | "_sum" | "_count"))
        }
        _ => family.name == name,
    })
}

/// A metric's name in a query, the labels that its selector names, and whether a range `[…]` follows.
struct Selector {
    name: String,
    labels: Vec<String>,
    ranged: bool,
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn selectors(expr: &str) -> Vec<Selector> {
    let starts = expr.match_indices("hamster_").map(|(at, _)| at);
    starts
        .filter(|&at| !expr[..at].ends_with(is_name))
        .map(|at| {
            let rest = &expr[at..];
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let (matchers, rest) = matchers.unwrap_or(("", rest));
            // Between quotes are values; before them a name and an operator.
            let before_values = matchers.split('"').step_by(2);
            let names = before_values.map(|text| text.trim_matches(|c| !is_name(c)).to_owned());
            let labels = names.filter(|name| !name.is_empty()).collect();
            Selector { name: name.to_owned(), labels, ranged: rest.starts_with('[') }
        })
        .collect()
}

/// The labels of all `by (…)` and `on (…)`.
fn grouped_by(expr: &str) -> Vec<String> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| expr.split(word).skip(1));
    lists.flat_map(|rest| rest.split(')').next().unwrap_or_default().split(", ")).map(str::to_owned).collect()
}

/// What is wrong with a query, in words.
fn faults(all: &[Family], query: &Query) -> Vec<String> {
    let mut found = Vec::new();
    let mut known: BTreeSet<&str> = LABELS_ADDED.into();
    for selector in selectors(&query.expr) {
        let Some(family) = metric(all, &selector.name) else {
            found.push(format!("there is no metric {}", selector.name));
            continue;
        };
        known.extend(family.labels);
        if selector.ranged != (family.kind != MetricType::GAUGE) && !in_gauge_function(&query.expr) {
            found.push(format!(
                "{}: counters are read by rate() or increase(), gauges as they are",
                selector.name
            ));
        }
        let unknown = |label: &&String| {
            !family.labels.contains(&label.as_str()) && !LABELS_ADDED.contains(&label.as_str())
        };
        let labels = selector.labels.iter().filter(unknown);
        found.extend(labels.map(|label| format!("{} has no label {label}", selector.name)));
    }
    let labels = grouped_by(&query.expr).into_iter().chain(query.shown.iter().cloned());
    found.extend(
        labels
            .filter(|label| !known.contains(label.as_str()))
            .map(|label| format!("nothing has the label {label}")),
    );
    found.into_iter().map(|fault| format!("{}: {fault} in {}", query.place, query.expr)).collect()
}

/// Functions over a gauge's history.
fn in_gauge_function(expr: &str) -> bool {
    ["predict_linear(", "resets("].iter().any(|function| expr.contains(function))
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn all_queries() -> Vec<Query> {
    dashboard_queries().into_iter().chain(rules().iter().map(Rule::query)).collect()
}

#[test]
fn every_metric_and_label_that_a_panel_or_a_rule_names_exists() {
    let metrics = gather(&Board::new(1));
    let queries = all_queries();
    assert!(queries.len() > 60, "{} queries found", queries.len());
    assert_none(queries.iter().flat_map(|query| faults(metrics.all(), query)).collect());
    for query in queries.iter().filter(|query| selectors(&query.expr).is_empty()) {
        assert!(query.expr.contains(SCRAPED_AS), "{}: {}", query.place, query.expr);
    }
}

#[test]
fn every_metric_is_shown_or_listed_as_not_shown() {
    let metrics = gather(&Board::new(1));
    let names: Vec<String> =
        all_queries().iter().flat_map(|query| selectors(&query.expr)).map(|selector| selector.name).collect();
    let shown: BTreeSet<&str> =
        names.iter().filter_map(|name| metric(metrics.all(), name)).map(|family| family.name).collect();
    let listed: BTreeSet<&str> = NOT_SHOWN.into_iter().map(|(name, _)| name).collect();
    let all: BTreeSet<&str> = metrics.all().iter().map(|family| family.name).collect();
    let hidden: BTreeSet<&str> = all.difference(&shown).copied().collect();
    assert_eq!(hidden, listed, "left: neither shown nor on the list; right: the list");
}

#[test]
fn the_document_has_every_metric_as_it_is_and_no_other() {
    let kind = |family: &Family| format!("{:?}", family.kind).to_lowercase();
    let row = |family: &Family| {
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{}` | {} | {labels} | {} |", family.name, kind(family), family.help)
    };
    let metrics = gather(&Board::new(1));
    let wanted: Vec<String> = metrics.all().iter().map(row).collect();
    let document = file("docs/MONITORING.md");
    let written: Vec<&str> = document.lines().filter(|line| line.starts_with("| `hamster_")).collect();
    assert!(written == wanted, "the table in docs/MONITORING.md should be:\n{}", wanted.join("\n"));
}

#[test]
fn every_alert_says_what_happened_and_links_to_its_runbook() {
    let document = file("docs/MONITORING.md");
    let headings: BTreeSet<&str> = document.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let rules = rules();
    for rule in &rules {
        let anchor = rule.name.to_lowercase();
        assert_eq!(rule.field("runbook_url"), format!("docs/MONITORING.md#{anchor}"));
        assert!(headings.contains(rule.name.as_str()), "{}: no heading in docs/MONITORING.md", rule.name);
        let severity = rule.field("labels");
        assert!(
            ["{severity: critical}", "{severity: warning}"].contains(&severity),
            "{}: {severity}",
            rule.name
        );
    }
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(headings, names, "left: runbooks, right: alerts");
}

#[test]
fn panels_do_not_overlap_and_have_units() {
    let dashboard = dashboard();
    let number = |panel: &serde_json::Value, name: &str| panel["gridPos"][name].as_u64().expect("a number");
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: an id twice");
        let (x, y, w, h) = (number(panel, "x"), number(panel, "y"), number(panel, "w"), number(panel, "h"));
        assert!(x + w <= 24, "{title}: wider than the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title}: overlaps another panel at {cell:?}");
        }
        if panel["type"] != "row" {
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn faults_in_queries_are_seen() {
    let metrics = gather(&Board::new(1));
    let count = |expr: &str, shown: &str| {
        let query = Query { place: String::new(), expr: expr.to_owned(), shown: braced(shown) };
        faults(metrics.all(), &query).len()
    };
    for (expr, shown, wanted) in [
        ("sum by (core) (rate(hamster_requests_total{status=~\"5..\"}[5m]))", "{{core}}", 0),
        ("rate(hamster_commit_duration_seconds_bucket{le=\"0.1\"}[5m])", "{{instance}}", 0),
        ("hamster_ready{instance=~\"$instance\"}", "{{core}}", 1),
        ("hamster_readiness", "", 1),
        ("hamster_requests_total", "", 1),
        ("rate(hamster_ready[5m])", "", 1),
        ("rate(hamster_commit_duration_seconds[5m])", "", 1),
        ("rate(hamster_requests_total{code=\"200\"}[5m])", "", 1),
        ("sum by (code) (rate(hamster_requests_total[5m]))", "", 1),
    ] {
        assert_eq!(count(expr, shown), wanted, "{expr}");
    }
}
