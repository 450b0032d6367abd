//! The arithmetic of the page.

use super::*;

/// The cells of a table of the page, without its head.
fn table(page: &str, name: &str) -> Vec<Vec<String>> {
    let (_, rest) = page
        .split_once(&format!("<!-- {name} -->"))
        .unwrap_or_else(|| panic!("the page has no table {name}"));
    let (inside, _) = rest
        .split_once(&format!("<!-- /{name} -->"))
        .unwrap_or_else(|| panic!("the table {name} does not end"));
    let rows = inside.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().trim_matches('*').to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

/// With commas, as the page has numbers.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The figures that the rest is made of, by their names.
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn of(page: &str) -> Self {
        let row = |row: Vec<String>| {
            let value = row[1].parse();
            let value = value.unwrap_or_else(|_| panic!("{} has no number", row[0]));
            (row[0].clone(), value)
        };
        Self(table(page, "figures").into_iter().map(row).collect())
    }

    pub(crate) fn get(&self, begin: &str) -> f64 {
        let mut found = self.0.iter().filter(|(name, _)| name.starts_with(begin));
        let figure = found.next().unwrap_or_else(|| panic!("no figure {begin}"));
        assert!(found.next().is_none(), "more than one figure {begin}");
        *figure.1
    }

    /// The parts of a node with so many GPUs, in the order of the table.
    fn parts(&self, gpus: f64) -> [f64; 11] {
        let sessions = self.get("sessions of a node");
        let has = f64::from(u8::from(gpus > 0.0));
        let agent = self.get("series of an agent");
        let templates = (self.get("templates") - 1.0) * self.get("series of a further template");
        let of_sessions = sessions * self.get("series of a session");
        let on_gpus = has * sessions * self.get("more for a session");
        let of_gpus =
            has * self.get("series of the GPU sampler") + gpus * self.get("series of a GPU");
        let added = self.get("series that Prometheus adds");
        let recorded = [
            sessions * self.get("recordings of a session"),
            self.get("recordings of a node"),
            gpus * self.get("recordings of a GPU"),
        ];
        let scraped = agent + templates + of_sessions + on_gpus + of_gpus + added;
        let [first, second, third] = recorded;
        [
            agent,
            templates,
            of_sessions,
            on_gpus,
            of_gpus,
            added,
            scraped,
            first,
            second,
            third,
            first + second + third,
        ]
    }

    /// Recordings that a cluster has once.
    fn of_the_cluster(&self) -> f64 {
        self.get("templates") * self.get("recordings of a template")
            + self.get("recordings of a cluster")
    }

    fn samples(&self, scraped: f64, recorded: f64) -> f64 {
        scraped / self.get("seconds between two scrapes")
            + recorded / self.get("seconds between two recordings")
    }
}

#[test]
fn the_arithmetic_of_the_page_is_right() {
    let page = document(PAGE);
    let figures = Figures::of(&page);
    let gpus = figures.get("GPUs of a node");
    let (without, with) = (figures.parts(0.0), figures.parts(gpus));
    let rows = table(&page, "node");
    assert_eq!(rows.len(), with.len());
    for (row, (without, with)) in rows.iter().zip(without.into_iter().zip(with)) {
        assert_eq!(row[1..3], [grouped(without), grouped(with)], "{}", row[0]);
    }

    let [.., scraped, of_sessions, of_node, of_gpus, recorded] = with;
    let once = figures.of_the_cluster();
    let fleets = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
    let rows = table(&page, "fleet");
    assert_eq!(rows.len(), fleets.len());
    for (row, nodes) in rows.iter().zip(fleets) {
        let samples = figures.samples(nodes * scraped, nodes * recorded + once);
        let [least, most] = ["bytes of a sample, least", "bytes of a sample, most"]
            .map(|name| samples * 86_400.0 * figures.get(name) / 1e9);
        let wanted = [
            grouped(nodes),
            grouped(nodes * figures.get("sessions of a node")),
            grouped(nodes * scraped),
            grouped(nodes * recorded + once),
            grouped(samples),
            format!("{least:.2} to {most:.2}"),
            format!("{} to {}", grouped(30.0 * least), grouped(30.0 * most)),
        ];
        assert_eq!(row[..], wanted);
    }

    // Of the parts of a node: those of its sessions on their GPU, and what Fleet asks for of the agent and of each GPU.
    let [_, _, series, on_gpus, ..] = with;
    let above = of_node + of_gpus;
    let fleet = 2.0 + 2.0 * gpus;
    let every_minute = figures.get("seconds between two recordings");
    let levels = [
        (scraped, recorded, 0.0),
        (scraped - series - on_gpus, recorded - of_sessions, 0.0),
        (0.0, above, fleet),
        (0.0, above, 0.0),
        (0.0, 0.0, 0.0),
    ];
    let rows = table(&page, "levels");
    assert_eq!(rows.len(), levels.len());
    for (row, (scraped, recorded, fetched)) in rows.iter().zip(levels) {
        let cells = [1_000.0, 10_000.0].map(|nodes| {
            let samples = figures.samples(nodes * scraped, nodes * recorded + once);
            [
                grouped(nodes * (scraped + recorded + fetched) + once),
                grouped(samples + nodes * fetched / every_minute),
            ]
        });
        assert_eq!(row[1..], cells.concat(), "{}", row[0]);
    }
}

#[test]
fn the_figures_of_the_page_are_those_that_were_measured() {
    let page = document(PAGE);
    let figures = Figures::of(&page);
    let measured = document("docs/measurements.md");
    let grouped = |begin: &str| grouped(figures.get(begin));
    let one = figures.get("series of an agent") + figures.get("series of a session");
    for wanted in [
        format!("| 1 | {one} | "),
        format!(
            "at most {} series a session",
            grouped("series of a session")
        ),
        format!("a GPU has {}, ", grouped("series of a GPU")),
        format!("functions are {}, ", grouped("series of the GPU sampler")),
        format!("captures {}.", grouped("more for a session")),
    ] {
        assert!(measured.contains(&wanted), "docs/measurements.md: {wanted}");
    }
    let limits = yaml(&document("deploy/scaling/remote-write/mimir-overrides.yml"));
    let limits = &limits["overrides"]["sessionscope"];
    let limit = |name: &str| limits[name].as_f64().unwrap_or_else(|| panic!("{name}"));
    let number = |cell: &str| cell.replace(',', "").parse::<f64>().expect("a number");
    let row = &table(&page, "levels")[1];
    assert!(limit("max_global_series_per_user") >= 1.5 * number(&row[1]));
    assert!(limit("ingestion_rate") >= 1.5 * number(&row[2]));
    let groups = rule_files().into_iter().flat_map(|(_, text)| {
        let groups = yaml(&text)["groups"].clone();
        groups.as_sequence().cloned().unwrap_or_default()
    });
    let largest = groups.filter_map(|group| Some(group["rules"].as_sequence()?.len()));
    let largest = largest.max().expect("there are groups");
    assert!(limit("ruler_max_rules_per_rule_group") >= largest as f64);
}
