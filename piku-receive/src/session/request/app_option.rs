//! `--app APP` before or among the arguments of a verb.

/// Moves the app of a leading `--app APP` to the front, where the verb expects it.
pub(super) fn name_app_first(mut args: Vec<String>) -> Vec<String> {
    match args.first().map(String::as_str) {
        Some("--app" | "-a") if args.len() > 1 => drop(args.remove(0)),
        Some(first) => {
            if let Some(app) = first.strip_prefix("--app=") {
                let app = app.to_owned();
                args[0] = app;
            }
        }
        None => {}
    }
    args
}

/// Moves the names of a service and of an app to the front, in this order, and that of `--app APP` after the service's.
pub(super) fn order_names(args: Vec<String>) -> Vec<String> {
    let (mut names, mut options, mut app) = (Vec::new(), Vec::new(), None);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--" => options.push(arg),
            "--app" | "-a" if app.is_none() => app = Some(args.next().unwrap_or_default()),
            "--as" | "--confirm" => {
                options.push(arg);
                options.extend(args.next());
            }
            option => match option.strip_prefix("--app=") {
                Some(value) if app.is_none() => app = Some(value.to_owned()),
                None if !option.starts_with('-') => names.push(arg),
                _ => options.push(arg),
            },
        }
    }
    if let Some(app) = app {
        names.insert(names.len().min(1), app);
    }
    names.extend(options);
    names
}
