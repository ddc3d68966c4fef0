//! Rows of series as curves, a plot for each name and a line for each policy, and as tables with a
//! column for each policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::html::escape;
use super::table::number;
use super::{Row, Series};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The rows of one figure: by policy, in order of their places.
#[derive(Debug, Default)]
struct Figure<'a> {
    unit: &'a str,
    curves: BTreeMap<&'a str, Vec<(f64, &'a Row)>>,
}

/// Every figure, by group and name, as they come.
fn figures(rows: &[Row]) -> Vec<(&str, &str, Figure<'_>)> {
    let mut figures: Vec<(&str, &str, Figure<'_>)> = Vec::new();
    for row in rows {
        let Some(Series { group, policy, x }) = &row.series else { continue };
        let known = figures.iter().position(|(g, n, _)| *g == group && *n == row.name);
        let at = known.unwrap_or(figures.len());
        if known.is_none() {
            figures.push((group, &row.name, Figure { unit: &row.unit, ..Figure::default() }));
        }
        figures[at].2.curves.entry(policy).or_default().push((*x, row));
    }
    for (_, _, figure) in &mut figures {
        for curve in figure.curves.values_mut() {
            curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
    }
    figures
}

impl Figure<'_> {
    /// The places of all curves, in ascending order.
    fn places(&self) -> Vec<f64> {
        let mut places: Vec<f64> = self.curves.values().flatten().map(|(x, _)| *x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        places
    }

    /// Whether the places grow by factors: then both axes are logarithmic.
    fn is_logarithmic(&self) -> bool {
        let places = self.places();
        places.len() > 2
            && places[0] > 0.0
            && places[places.len() - 1] / places[0] >= 32.0
            && places.windows(2).all(|pair| pair[1] / pair[0] >= 2.0)
    }
}

/// The medians as text: a line for each place, a column for each policy.
#[must_use]
pub fn tables(rows: &[Row]) -> String {
    let figures = figures(rows);
    let mut policies: Vec<&str> =
        figures.iter().flat_map(|(_, _, figure)| figure.curves.keys().copied()).collect();
    policies.sort_unstable();
    policies.dedup();
    let width = figures.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut last = "";
    for (group, name, figure) in &figures {
        if *group != last {
            last = group;
            let _ = write!(text, "\n{group:width$}  {:>6}", "x");
            for policy in &policies {
                let _ = write!(text, "  {policy:>16}");
            }
            text.push('\n');
        }
        for place in figure.places() {
            let _ = write!(text, "{name:width$}  {place:>6}");
            for policy in &policies {
                let curve = figure.curves.get(policy);
                let row = curve.and_then(|curve| curve.iter().find(|(x, _)| *x == place));
                let cell = row.map_or_else(|| "-".to_owned(), |(_, row)| number(row.median));
                let _ = write!(text, "  {cell:>16}");
            }
            text.push('\n');
        }
    }
    text
}

/// A plot for each name, under a heading for each group.
#[must_use]
pub fn plots(rows: &[Row]) -> String {
    let mut html = String::new();
    let mut last = "";
    for (group, name, figure) in &figures(rows) {
        if *group != last {
            last = group;
            let _ = writeln!(html, "<h3>{}</h3>", escape(group));
        }
        let caption = escape(&format!("{name} [{}]", figure.unit));
        let svg = plot(figure);
        let _ = writeln!(html, "<figure><figcaption>{caption}</figcaption>{svg}</figure>");
    }
    html
}

fn plot(figure: &Figure<'_>) -> String {
    let logarithmic = figure.is_logarithmic();
    let scale = |value: f64| if logarithmic { value.max(0.5).ln() } else { value };
    let rows = || figure.curves.values().flatten();
    let places = figure.places();
    let low = places.first().map_or(0.0, |&x| scale(x));
    let high = places.last().map_or(1.0, |&x| scale(x));
    let bottom = if logarithmic { scale(0.5) } else { 0.0 };
    let top = rows().map(|(_, row)| scale(row.max)).fold(bottom, f64::max);
    let across = |x: f64| {
        let share = (scale(x) - low) / (high - low).max(f64::MIN_POSITIVE);
        LEFT + share * (WIDTH - LEFT - 16.0)
    };
    let up = |value: f64| {
        let share = (scale(value) - bottom) / (top - bottom).max(f64::MIN_POSITIVE);
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">\
         <path class=\"grid\" d=\"M{LEFT} {TOP}V{}H{WIDTH}\" fill=\"none\"/>",
        HEIGHT + 16.0 * figure.curves.len() as f64,
        HEIGHT - BOTTOM
    );
    let largest = rows().map(|(_, row)| row.max).fold(0.0, f64::max);
    let _ = write!(svg, "<text x=\"2\" y=\"{}\">{}</text>", TOP + 8.0, number(largest));
    for x in places {
        let (at, y) = (across(x), HEIGHT - BOTTOM + 14.0);
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{x}</text>");
    }
    for (index, (policy, curve)) in figure.curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut path = String::new();
        for (nth, (x, row)) in curve.iter().enumerate() {
            let (x, y) = (across(*x), up(row.median));
            let _ = write!(path, "{}{x:.1} {y:.1}", if nth == 0 { 'M' } else { 'L' });
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let _ = write!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>");
        let (y, policy) = (HEIGHT + 12.0 + 16.0 * index as f64, escape(policy));
        let _ = write!(svg, "<text x=\"{LEFT}\" y=\"{y}\" style=\"fill:{colour}\">{policy}</text>");
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, policy: &str, x: f64) -> Row {
        let series = Series { group: "scale".to_owned(), policy: policy.to_owned(), x };
        let value = x * 2.0;
        Row {
            topology: "all".to_owned(),
            name: name.to_owned(),
            unit: "messages".to_owned(),
            n: 1,
            min: value,
            median: value,
            p99: value,
            max: value,
            series: Some(series),
            more: BTreeMap::new(),
        }
    }

    #[test]
    fn policies_stand_side_by_side() {
        let rows =
            [row("reads", "voting", 4.0), row("reads", "voting", 2.0), row("reads", "b", 2.0)];
        let text = tables(&rows);
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1..],
            [
                vec!["scale", "x", "b", "voting"],
                vec!["reads", "2", "4.000", "4.000"],
                vec!["reads", "4", "-", "8.000"],
            ]
        );
    }

    #[test]
    fn a_name_is_a_plot_and_a_policy_a_line() {
        let mut rows: Vec<Row> = [2.0, 16.0, 1024.0].map(|x| row("a<b", "voting", x)).into();
        rows.extend([2.0, 1024.0].map(|x| row("a<b", "directory", x)));
        rows.push(row("other", "voting", 0.0));
        let html = plots(&rows);
        assert_eq!((html.matches("<svg").count(), html.matches("stroke=").count()), (2, 3));
        assert!(html.contains("a&lt;b") && !html.contains("NaN") && !html.contains("inf"));
    }
}
