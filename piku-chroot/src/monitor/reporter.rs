//! Reports the start and the end of a jail: in the file of `--report` and on stderr.

use std::io;

use anyhow::Result;
use piku_report::user_error::tell;

use crate::confinement::protections::{LayerFailure, NAMESPACES, ProtectionLayer, ProtectionLayers};
use crate::ids::JailIds;
use crate::limits::MemoryAmount;
use crate::limits::cgroup::{CgroupEnd, largest_process};
use crate::plan::JailPlan;
use crate::report::{HeldLimit, JailEnd, JailObstacle, JailStart, MissingLayer, ReportWriter};

/// A report that is opened before anything else is done.
pub(crate) struct JailReporter {
    report: Option<ReportWriter>,
    /// The memory limit in bytes.
    memory: Option<u64>,
    tell_memory: bool,
    level: u8,
    layers: [ProtectionLayer; 6],
}

impl JailReporter {
    pub(crate) fn open(plan: &JailPlan, ids: JailIds, layers: ProtectionLayers) -> Result<Self> {
        let report = plan.report.as_deref().map(ReportWriter::open).transpose()?;
        let memory = plan.limits.memory.map(MemoryAmount::bytes);
        let layers = layers.of_jail(plan.net, !plan.listen.is_empty());
        Ok(Self { report, memory, tell_memory: plan.tell_memory, level: ids.level(), layers })
    }

    /// Reports that the command runs. `read_only_app` is set if /app was to be writable and is not.
    pub(crate) fn report_start(&mut self, held: &[HeldLimit], read_only_app: bool) {
        let Some(report) = &mut self.report else { return };
        let (layers, missing) = split_layers(&self.layers);
        warn_on_error(report.write_start(JailStart {
            level: self.level,
            layers,
            missing,
            limits: held.to_vec(),
            read_only_app,
        }));
    }

    pub(crate) fn report_end(
        self,
        exit_code: u8,
        end: CgroupEnd,
        obstacle: Option<JailObstacle>,
        terminal_lines: Vec<String>,
    ) {
        let peak = end.peak.map(|peak| format!("peak {}", format_megabytes(peak)));
        match self.memory {
            Some(limit) if end.oom_kills > 0 => {
                let peak = peak.map_or_else(String::new, |peak| format!(", {peak}"));
                tell(&format!("piku-chroot: killed for memory: limit {}{peak}", format_megabytes(limit)));
            }
            Some(_) if self.tell_memory => {
                let largest =
                    || format!("peak {} (its largest process)", format_megabytes(largest_process()));
                tell(&format!("piku-chroot: memory: {}", peak.unwrap_or_else(largest)));
            }
            _ => {}
        }
        if let Some(mut report) = self.report {
            let (memory_peak_bytes, oom_kills) = (end.peak, end.oom_kills);
            let ended = JailEnd { exit_code, memory_peak_bytes, oom_kills, obstacle, terminal_lines };
            warn_on_error(report.write_end(ended));
        }
    }
}

/// Splits the layers into those that hold and those that are missing.
fn split_layers(optional: &[ProtectionLayer]) -> (Vec<String>, Vec<MissingLayer>) {
    let mut layers = vec![NAMESPACES.to_owned(), "no capabilities".to_owned()];
    let mut missing = Vec::new();
    for layer in optional.iter().filter(|layer| layer.wanted) {
        match &layer.missing {
            None => layers.push(layer.name.to_owned()),
            Some(LayerFailure { why, fix }) => {
                let (layer, why, fix) = (layer.name.to_owned(), why.clone(), Some(fix.clone()));
                missing.push(MissingLayer { layer, why, fix });
            }
        }
    }
    (layers, missing)
}

/// Prints an error of the report: a full disk must not end the command.
fn warn_on_error(written: io::Result<()>) {
    if let Err(err) = written {
        tell(&format!("piku-chroot: --report: cannot write it: {err}"));
    }
}

/// Formats a size, rounded to megabytes.
fn format_megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.saturating_add(1 << 19) >> 20)
}
