//! Where the input topics of an application are to be read again. Commits nothing.

use super::Thrown;
use crate::clock;
use crate::cluster::Cluster;
use crate::groups::{when, wire};
use crate::java_order::{hash_order, partition_hash};
use crate::log_offsets::{self, EARLIEST, LATEST, Partition};
use crate::options::Options;
use std::collections::BTreeMap;

/// An offset for each partition.
pub(super) type Positions = BTreeMap<Partition, i64>;

/// Java's words for a number that is not there.
const NO_NUMBER: &str = "java.lang.NullPointerException: Cannot invoke \"java.lang.Long.longValue()\" because the return \
                         value of \"java.util.Map.get(Object)\" is null";

/// Positions by the scenario of the options, the start of the logs if there is none.
///
/// # Errors
/// As Java's tool throws them.
pub(super) fn by_scenario(
    options: &Options,
    cluster: &mut Cluster,
    partitions: &[Partition],
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<Positions> {
    if let Some(offset) = options.number::<i64>("to-offset")? {
        return in_range(
            cluster,
            partitions,
            partitions.iter().map(|place| (place.clone(), offset)).collect(),
            partitions.len(),
        );
    }
    if options.has("to-earliest") {
        return at(cluster, partitions, EARLIEST);
    }
    if options.has("to-latest") {
        return at(cluster, partitions, LATEST);
    }
    if let Some(by) = options.number::<i64>("shift-by")? {
        let group = options.value("application-id")?.unwrap_or_default();
        let shifted = current(cluster, group, partitions, settings)?
            .into_iter()
            .map(|(place, offset)| (place, offset.saturating_add(by)))
            .collect();
        return in_range(cluster, partitions, shifted, partitions.len());
    }
    if let Some(text) = options.value("to-datetime")? {
        let time = when::datetime(text).map_err(|problem| Thrown::reset("java.text.ParseException", &problem))?;
        return at_time(cluster, partitions, time);
    }
    if let Some(text) = options.value("by-duration")? {
        let problem = "Text cannot be parsed to a Duration";
        let duration =
            when::duration(text).ok_or_else(|| Thrown::new("java.time.format.DateTimeParseException", problem))?;
        return at_time(cluster, partitions, clock::now_ms().saturating_sub(duration));
    }
    if let Some(file) = options.value("from-file")? {
        let text =
            std::fs::read_to_string(file).map_err(|_| Thrown::reset("java.nio.file.NoSuchFileException", file))?;
        let plan = read_plan(&text)?;
        return in_range(cluster, partitions, plan, 16);
    }
    at(cluster, partitions, EARLIEST)
}

/// Offsets at a time that is not one of records: each partition has one.
pub(super) fn at(cluster: &mut Cluster, partitions: &[Partition], time: i64) -> anyhow::Result<Positions> {
    let mut positions = Positions::new();
    for (place, offset) in log_offsets::at(cluster, partitions, time)? {
        positions.insert(place, offset?);
    }
    Ok(positions)
}

/// Where a consumer of the group would begin: at what was committed, else as `auto.offset.reset` says.
fn current(
    cluster: &mut Cluster,
    group: &str,
    partitions: &[Partition],
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<Positions> {
    let committed = wire::committed(cluster, group)?;
    let (with, without): (Vec<Partition>, Vec<Partition>) =
        partitions.iter().cloned().partition(|place| committed.contains_key(place));
    let mut positions: Positions = with.into_iter().map(|place| (place.clone(), committed[&place])).collect();
    if without.is_empty() {
        return Ok(positions);
    }
    let policy = settings.get("auto.offset.reset").map_or("latest", |text| text.trim()).to_lowercase();
    if policy == "none" {
        let names: Vec<String> = without.iter().map(|(topic, index)| format!("{topic}-{index}")).collect();
        let problem = format!("Undefined offset with no reset policy for partitions: [{}]", names.join(", "));
        return Err(Thrown::new("org.apache.kafka.clients.consumer.NoOffsetForPartitionException", &problem).into());
    }
    let time = if policy == "earliest" { EARLIEST } else { LATEST };
    positions.extend(at(cluster, &without, time)?);
    Ok(positions)
}

fn at_time(cluster: &mut Cluster, partitions: &[Partition], time: i64) -> anyhow::Result<Positions> {
    let mut positions = at(cluster, partitions, time)?;
    let missing: Vec<Partition> = partitions.iter().filter(|place| positions[*place] < 0).cloned().collect();
    for (topic, index) in &missing {
        println!(
            "Partition {index} from topic {topic} is empty, without a committed record. Falling back to latest known offset."
        );
    }
    positions.extend(at(cluster, &missing, LATEST)?);
    Ok(positions)
}

/// The wanted offsets of a plan, put inside of the logs; told of those that do not lie within them. `capacity` is that of
/// Java's map that holds the plan.
fn in_range(
    cluster: &mut Cluster,
    partitions: &[Partition],
    plan: Positions,
    capacity: usize,
) -> anyhow::Result<Positions> {
    let (ends, starts) = (at(cluster, partitions, LATEST)?, at(cluster, partitions, EARLIEST)?);
    let (positions, told) = within(partitions, plan, &starts, &ends, capacity);
    told.iter().for_each(|line| println!("{line}"));
    positions.map_err(anyhow::Error::from)
}

fn within(
    partitions: &[Partition],
    plan: Positions,
    starts: &Positions,
    ends: &Positions,
    capacity: usize,
) -> (Result<Positions, Thrown>, Vec<String>) {
    let mut told = Vec::new();
    let mut valid = Positions::new();
    let plan = hash_order(plan.into_iter().collect(), capacity, |((topic, index), _)| partition_hash(topic, *index));
    for (place, offset) in plan {
        let (Some(start), Some(end)) = (starts.get(&place), ends.get(&place)) else {
            return (Err(Thrown(NO_NUMBER.to_owned(), false)), told);
        };
        let mut set_to = |how: &str, value: i64| {
            told.push(format!("New offset ({offset}) is {how} offset. Value will be set to {value}"));
            value
        };
        let value = match offset {
            _ if offset >= *end => set_to("higher than latest", *end),
            _ if offset <= *start => set_to("lower than earliest", *start),
            _ => offset,
        };
        valid.insert(place, value);
    }
    match partitions.iter().all(|place| valid.contains_key(place)) {
        true => (Ok(valid), told),
        false => (Err(Thrown(NO_NUMBER.to_owned(), false)), told),
    }
}

/// A plan of lines `topic,partition,offset`.
fn read_plan(text: &str) -> Result<Positions, Thrown> {
    if text.is_empty() {
        let problem = "Error parsing reset plan CSV file. It is empty,";
        return Err(Thrown::reset("java.text.ParseException", problem));
    }
    let mut plan = Positions::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let [topic, partition, offset] = line.split(',').collect::<Vec<_>>()[..] else {
            let problem = "Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.";
            return Err(Thrown::reset("java.text.ParseException", problem));
        };
        let number =
            |text: &str| Thrown::new("java.lang.NumberFormatException", &format!("For input string: \"{text}\""));
        let index = partition.parse().map_err(|_| number(partition))?;
        plan.insert((topic.to_owned(), index), offset.parse().map_err(|_| number(offset))?);
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: i32) -> Partition {
        ("t".to_owned(), index)
    }

    #[test]
    fn offsets_stay_inside_of_the_logs() {
        for (offset, expected, told) in [
            (5, 5, None),
            (3, 3, Some("New offset (3) is lower than earliest offset. Value will be set to 3")),
            (-1, 3, Some("New offset (-1) is lower than earliest offset. Value will be set to 3")),
            (9, 9, Some("New offset (9) is higher than latest offset. Value will be set to 9")),
            (70, 9, Some("New offset (70) is higher than latest offset. Value will be set to 9")),
        ] {
            let one = |offset| Positions::from([(place(0), offset)]);
            let (positions, lines) = within(&[place(0)], one(offset), &one(3), &one(9), 1);
            assert_eq!(positions.unwrap(), one(expected), "{offset}");
            assert_eq!(lines.first().map(String::as_str), told, "{offset}");
        }
        let (positions, _) = within(&[place(0), place(1)], Positions::new(), &Positions::new(), &Positions::new(), 1);
        assert_eq!(positions.unwrap_err().to_string(), NO_NUMBER);
    }

    #[test]
    fn plans_are_refused_in_kafkas_words() {
        let good = Positions::from([(place(0), 5), (place(1), 7)]);
        assert_eq!(read_plan("t,0,5\nt,1,7\n").unwrap(), good);
        for (text, problem) in [
            ("", "java.text.ParseException: Error parsing reset plan CSV file. It is empty,"),
            (
                "t,0",
                "java.text.ParseException: Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.",
            ),
            ("t,x,5", "java.lang.NumberFormatException: For input string: \"x\""),
            ("t,0,", "java.lang.NumberFormatException: For input string: \"\""),
        ] {
            assert_eq!(read_plan(text).unwrap_err().to_string(), problem, "{text}");
        }
    }
}
