//! A report as one HTML file: nothing of it is asked for elsewhere, and it reads in print and as a letter.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::{
    prelude::{ChartBuilder, Color, IntoDrawingArea, LineSeries, RGBColor, SVGBackend, WHITE},
    style::TextStyle,
};

use super::{
    super::units::{clock, printable},
    document::{Document, Line, Plot, Section, Table},
};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;\
background:#fff}table{border-collapse:collapse;margin:.5rem 0 1rem}th,td{padding:.2rem .7rem;border-bottom:1px solid #ccc;\
text-align:left}td.figure,th.figure{text-align:right;font-variant-numeric:tabular-nums}.faint{color:#555}svg{max-width:100%;\
height:auto}h2{margin-top:2rem}@media print{h2{break-after:avoid}table,svg{break-inside:avoid}}";
/// Of Okabe and Ito: told apart by who is colour-blind.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];
const SIZE: (u32, u32) = (900, 260);

pub(super) fn html(document: &Document) -> String {
    let span = format!("{} to {}", clock(document.since), clock(document.until));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Sessions, " (span) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Sessions" }
                p { (span) ". From " (printable(&document.prometheus)) "." }
                @for section in &document.sections { (self::section(section)) }
            }
        }
    };
    page.into_string()
}

fn section(section: &Section) -> Markup {
    html! {
        h2 { (section.title) }
        p.faint { (section.note) }
        @for plot in &section.plots { (self::plot(plot)) }
        @for table in &section.tables { (self::table(table)) }
        @if !section.missing.is_empty() {
            p { "Not known:" }
            ul { @for missing in &section.missing { li { (printable(missing)) } } }
        }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        h3 { (table.title) }
        table {
            thead { tr {
                @for name in &table.names { th scope="col" { (name) } }
                @for column in &table.columns { th.figure scope="col" { (column) } }
            } }
            tbody { @for row in &table.rows { tr {
                @for name in &row.names { td { (printable(name)) } }
                @for value in &row.values { td.figure { (value.text()) } }
            } } }
        }
        @if table.more > 0 { p.faint { (table.more) " more are not shown." } }
    }
}

/// The drawing, and beside it in words what its colours are.
fn plot(plot: &Plot) -> Markup {
    let drawn = drawing(plot).unwrap_or_default();
    html! {
        h3 { (plot.title) }
        (PreEscaped(drawn))
        p.faint {
            @for (line, colour) in plot.lines.iter().zip(COLOURS.iter().cycle()) {
                @let RGBColor(red, green, blue) = colour;
                span style=(format!("color:rgb({red},{green},{blue})")) { "\u{25ac} " }
                (name(line)) " "
            }
        }
    }
}

fn name(line: &Line) -> String {
    if line.name.is_empty() {
        return "without a template".to_owned();
    }
    printable(&line.name)
}

/// `None` where there is nothing to draw.
fn drawing(plot: &Plot) -> Option<String> {
    let all = || plot.lines.iter().flat_map(|line| &line.points);
    let from = all().map(|(at, _)| *at).min_by(f64::total_cmp)?;
    let to = all().map(|(at, _)| *at).max_by(f64::total_cmp)?;
    let most = all()
        .map(|(_, value)| *value)
        .max_by(f64::total_cmp)?
        .max(1.0);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(44)
            .build_cartesian_2d(from..to.max(from + 1.0), 0.0..most * 1.05)
            .ok()?;
        let text = TextStyle::from(("sans-serif", 12));
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(6)
            // Day and minute.
            .x_label_formatter(&|at| clock(*at)[5..16].replace('T', " "))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .label_style(text)
            .draw()
            .ok()?;
        for (line, colour) in plot.lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.filled().stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))
                .ok()?;
        }
        area.present().ok()?;
    }
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_the_page_asks_for_nothing() {
        let document = Document {
            prometheus: "http://prometheus".to_owned(),
            since: 0.0,
            until: 86_400.0,
            sections: vec![Section {
                title: "Sessions",
                plots: vec![Plot {
                    title: "Sessions by template",
                    lines: vec![Line {
                        name: "<script>alert(1)</script>".to_owned(),
                        points: vec![(0.0, 1.0), (3_600.0, 4.0)],
                    }],
                }],
                ..Section::default()
            }],
        };
        let page = html(&document);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("<polyline"), "{page}");
        for elsewhere in ["src=", "href=", "url(", "@import"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_plot_of_nothing_is_none() {
        let plot = Plot {
            title: "Sessions",
            lines: Vec::new(),
        };
        assert_eq!(drawing(&plot), None);
    }
}
