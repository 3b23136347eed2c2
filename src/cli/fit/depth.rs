//! `--depth`: what the states after a part of the layers teach, and whether that is as good as what all layers teach.

use slm_fit::Depth;
use slm_fit::learn::compared;

use super::args::FitArgs;
use super::learned::{EarlyTaught, Lesson, Taught, TriedDepth};
use super::parts::DepthArg;
use super::rows::Gathered;
use crate::cli::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::ui::output::say;

/// What a part of the layers taught: by field, in their order.
pub struct EarlyPart {
    pub depth: Depth,
    pub fields: Vec<EarlyTaught>,
}

/// Finds the part of the layers that answers, and what it taught; `None` where none is asked for, or `auto` finds none.
///
/// # Errors
/// The rows cannot be asked, a field has no labels, or the part that is asked for teaches nothing.
pub fn find(
    args: &FitArgs,
    gathered: &Gathered,
    lessons: &[Option<Lesson<'_>>],
    whole: &[Option<Taught>],
    environment: &Environment,
) -> Result<Option<EarlyPart>, Failure> {
    let Some(wanted) = args.depth else { return Ok(None) };
    if let Some(field) = gathered.fields.iter().find(|field| !field.is_labelled) {
        return Err(Failure::usage(format!(
            "--depth needs labels for every field, because no label is read then, and the data has none for `{}`",
            field.shown()
        )));
    }
    let info = gathered.source.session.engine().info();
    if info.n_gpu_layers > 0 {
        say("--depth saves no time where a GPU computes: its graphs do not end after a layer");
    }
    let parts = wanted.parts(info.n_layers)?;
    let mut tried: Vec<Vec<TriedDepth>> = vec![Vec::new(); gathered.fields.len()];
    for &depth in &parts {
        let rows = gathered.source.after_layers(depth.layers, &gathered.fields, environment)?;
        let mut fields = Vec::new();
        for (nth, field) in rows.iter().enumerate() {
            let (Some(lesson), Some(whole)) = (&lessons[nth], &whole[nth]) else { continue };
            let taught = lesson.of_states(field).teach()?;
            let compared = compared(taught.found(), whole.found(), &whole.truths);
            tried[nth].push(TriedDepth { depth, method: taught.method(), compared });
            fields.push((taught, compared));
        }
        let is_as_good = fields.iter().all(|(taught, compared)| taught.learns() && compared.is_as_good());
        if wanted != DepthArg::Auto {
            let named = gathered.fields.iter().map(|field| field.shown());
            for ((name, (taught, _)), whole) in named.zip(&fields).zip(whole.iter().flatten()) {
                refuse_worthless(args, name, depth, taught, whole)?;
            }
        }
        if is_as_good || wanted != DepthArg::Auto {
            let fields = fields.into_iter().zip(tried);
            let fields = fields.map(|((taught, compared), tried)| EarlyTaught { taught, tried, compared }).collect();
            return Ok(Some(EarlyPart { depth, fields }));
        }
    }
    let parts: Vec<String> = parts.iter().map(Depth::to_string).collect();
    let said = format!(
        "--depth auto: {} are clearly worse than all layers, which are used; --depth with a part takes that in spite of it",
        parts.join(", ")
    );
    super::tell(args, &said)?;
    Ok(None)
}

/// Refuses a part that teaches nothing, or alone has fewer rows right than the model as it is.
fn refuse_worthless(args: &FitArgs, name: &str, depth: Depth, taught: &Taught, whole: &Taught) -> Result<(), Failure> {
    let refused = |why: String| {
        let message = format!(
            "`{name}`: {why}; nothing was stored; fit with more layers, with more labelled rows, or without --depth"
        );
        Err(Failure { message, exit: Exit::NotMet })
    };
    if !taught.learns() {
        return refused(format!("the state after {depth} tells no more of the labels than a guess"));
    }
    // With thresholds, rows that are not sure are answered by all layers.
    let against = compared(taught.found(), &whole.raw, &whole.truths);
    if !args.promise.has_demand() && against.p_as_right <= 0.05 {
        return refused(format!(
            "{depth} have fewer rows right ({:.3}) than all layers without a fit",
            against.figures.accuracy
        ));
    }
    Ok(())
}
