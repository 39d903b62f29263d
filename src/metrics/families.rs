//! Metric families under construction, and their text form.

use ::prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Buckets, LabelPair, Metric, MetricFamily, MetricType,
};
use ::prometheus::{Encoder, TextEncoder};
use hdrhistogram::Histogram;

/// The families of one scrape, in the order in which they were begun.
#[derive(Default)]
pub struct Families(Vec<Family>);

/// A metric and its samples.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it means, in a few words.
    pub help: &'static str,
    /// The names of its labels; samples give the values in the same order.
    pub labels: &'static [&'static str],
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    samples: Vec<Metric>,
}

impl Families {
    /// Begins a counter.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> &mut Family {
        self.begin(name, help, labels, MetricType::COUNTER)
    }

    /// Begins a gauge.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> &mut Family {
        self.begin(name, help, labels, MetricType::GAUGE)
    }

    /// Begins a histogram.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> &mut Family {
        self.begin(name, help, labels, MetricType::HISTOGRAM)
    }

    fn begin(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        kind: MetricType,
    ) -> &mut Family {
        self.0.push(Family { name, help, labels, kind, samples: Vec::new() });
        self.0.last_mut().expect("one was just pushed")
    }

    /// Every family, those without samples too.
    #[cfg(test)]
    pub fn all(&self) -> &[Family] {
        &self.0
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn text(self) -> String {
        // The encoder refuses a family without samples.
        let families: Vec<MetricFamily> =
            self.0.into_iter().filter(|family| !family.samples.is_empty()).map(Family::encoded).collect();
        let mut out = Vec::new();
        match TextEncoder::new().encode(&families, &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }
}

impl Family {
    /// Adds a sample of a counter or gauge.
    pub fn sample(&mut self, labels: &[&str], value: f64) {
        let kind = self.kind;
        let sample = self.begin_sample(labels);
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
    }

    /// Adds a sample of a histogram. `bounds` are upper bounds of its buckets in the unit that was recorded;
    /// `per_unit` of them make one base unit.
    pub fn buckets(&mut self, labels: &[&str], recorded: &Histogram<u64>, bounds: &[u64], per_unit: f64) {
        let mut counts = vec![0; bounds.len()];
        let mut sum = 0.0;
        for value in recorded.iter_recorded() {
            sum += value.value_iterated_to() as f64 * value.count_at_value() as f64 / per_unit;
            // A value stands for a range of its histogram's precision; it goes where the range begins.
            let low = recorded.lowest_equivalent(value.value_iterated_to());
            if let Some(bucket) = bounds.iter().position(|bound| low <= *bound) {
                counts[bucket] += value.count_at_value();
            }
        }
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / per_unit);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Buckets::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(recorded.len());
        histogram.set_sample_sum(sum);
        self.begin_sample(labels).set_histogram(histogram);
    }

    fn begin_sample(&mut self, values: &[&str]) -> &mut Metric {
        assert_eq!(values.len(), self.labels.len(), "labels of {}", self.name);
        let labels = self.labels.iter().zip(values).map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        self.samples.push(Metric::from_label(labels.collect()));
        self.samples.last_mut().expect("one was just pushed")
    }

    fn encoded(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.samples);
        family
    }
}
