"""The tree of commands; each is imported when it is asked for."""

from __future__ import annotations

from cyclopts import App

from aiopslab._version import __version__

_HELP = "Evaluate AIOps agents on incidents that are proven sound."

_COMMANDS = {
    "run": "Run an agent on problems and grade it.",
    "resume": "Continue a run that was cut off; finished trials stay.",
    "regrade": "Grade a run again from its records alone.",
    "compare": "Compare two runs, or two agents of one, draw by draw; a gate against regressions.",
    "calibrate": "Fit a mapping from elicited evidence to confidence on runs, or show one.",
    "report": "Report on a run as html, md, json, csv or junit.",
    "view": "Look at a folder of runs in a browser: list, filter, open, compare.",
    "export": "Write the telemetry of a run or a trial as parquet, csv, otlp or openmetrics.",
    "list": "List problems, incidents, suites, agents, apps, causes or runs.",
    "show": "Show one incident, problem, suite, agent, app or run.",
    "play": "Be the agent: a terminal session on one incident.",
    "up": "Keep an application or an incident running, with every API open.",
    "check": "Prove incidents sound: twin healthy, fault hurts, fix works, cheats fail.",
    "agree": "Compare the simulated world with a real cluster, incident by incident.",
    "baselines": "Measure what several agents score, each incident staged once for all.",
    "generate": "Write a held-out set of incidents, each proven sound.",
    "memory": "Write the memory of past incidents, from incidents that no suite scores.",
    "submit": "Submit the answer of a running trial, from a program outside.",
    "mcp": "Offer the tools of a running trial over MCP on standard input and output.",
    "cluster": "Make a kind cluster to run on, list what is ours on a cluster, remove it.",
    "clean": "Take what is ours off a cluster, by label.",
    "doctor": "Look whether everything needed is there, with the fix to type.",
}

_EXAMPLES = {
    "": [
        ("aiopslab run quickstart", "three incidents, no key, no Docker"),
        ("aiopslab run core -a react -m gpt-5", "seventy incidents, an LLM agent"),
        ("aiopslab play service-target-port", "you are the on-call"),
    ],
    "run": [
        ("aiopslab run quickstart", "statistical agent, no key"),
        ("aiopslab run core@1.0 -a noop -n 2", "a whole suite on two cores"),
        ("aiopslab run core -a react -m gpt-5 -l 5", "an LLM, five problems"),
    ],
    "resume": [("aiopslab resume runs/NAME", "finish what is missing")],
    "regrade": [("aiopslab regrade runs/NAME", "after the scoring changed")],
    "compare": [
        ("aiopslab compare runs/OLD runs/NEW", "what got better, what got worse"),
        ("aiopslab compare runs/OLD runs/NEW --fail-if-worse", "exit 6 in CI"),
        ("aiopslab compare runs/R runs/R --agent-a noop --agent-b react", "two agents of one run"),
    ],
    "calibrate": [
        ("aiopslab calibrate fit runs/NAME -o mapping.json", "on every incident of a run"),
        ("aiopslab calibrate fit runs/NAME -o m.json --split 1/2", "on half, tested on the rest"),
        ("aiopslab calibrate show mapping.json", "the map and what it was fitted on"),
        ("aiopslab calibrate show mapping.json runs/OTHER", "its test on another run"),
    ],
    "report": [
        ("aiopslab report runs/NAME", "a page: runs/NAME/report.html"),
        ("aiopslab report runs/NAME -f md", "for a pull request"),
        ("aiopslab report runs/NAME -f junit -o junit.xml", "for continuous integration"),
    ],
    "view": [
        ("aiopslab view", "the runs in runs/, on loopback"),
        ("aiopslab view ~/all-runs --port 8000 --open", "elsewhere, in a browser at once"),
        ("aiopslab view runs/NAME", "one run"),
    ],
    "export": [
        ("aiopslab export runs/NAME -f csv", "every trial, a directory each"),
        ("aiopslab export runs/NAME/trials/ID__1 -f otlp -s spans", "the traces of one trial"),
    ],
    "list": [
        ("aiopslab list suites", "what can be run"),
        ("aiopslab list runs --json", "for scripts"),
    ],
    "show": [
        ("aiopslab show service-target-port", "an incident file"),
        ("aiopslab show hotel --manifests", "the Kubernetes objects of an app"),
    ],
    "play": [
        ("aiopslab play service-target-port", "repair it"),
        ("aiopslab play release-errors -t diagnosis --seed 3", "explain it"),
    ],
    "up": [
        ("aiopslab up hotel", "a healthy application"),
        ("aiopslab up service-target-port --clock wall:10", "broken, ten times as fast"),
        ("aiopslab up hotel --json", "for scripts"),
    ],
    "check": [
        ("aiopslab check", "every incident"),
        ("aiopslab check --suite core --seeds 0,1,2 --json", "three draws of each"),
        ("aiopslab check my-incident.yaml --seed 7", "your own, another draw"),
        ("aiopslab check my-incident.yaml --proof fix", "one proof, while you work on it"),
        ("aiopslab check --margins margins.jsonl --seeds 0-19", "how far from the gate"),
    ],
    "agree": [
        ("aiopslab agree lite -e kind", "what of lite exists on a cluster"),
        ("aiopslab agree resources-cpu-limit -e kubeconfig -E context=lab", "one, on yours"),
        ("aiopslab agree --run runs/NAME", "with what baselines -e kind kept"),
    ],
    "baselines": [
        ("aiopslab baselines core", "seven trivial agents, noop and the oracle"),
        ("aiopslab baselines core -o rows.jsonl --seeds 0,1,2", "three draws, kept row by row"),
        ("aiopslab baselines my-incident.yaml -a restart-everything", "one agent, one incident"),
        ("aiopslab baselines lite -e kind -a noop -a oracle", "on a cluster, staged once for both"),
    ],
    "generate": [
        ("aiopslab generate --suite core --seed 4711 --count 20 -o held-out", "twenty new ones"),
        (
            "aiopslab generate --suite quickstart --seed 1 --count 1 -o /tmp/one",
            "to see how they look",
        ),
    ],
    "memory": [
        ("aiopslab memory", "in a checkout: docs/memory.jsonl, problems/memory"),
        ("aiopslab memory --sightings seen.jsonl -o mine/problems/memory", "from your incidents"),
    ],
    "submit": [
        ("aiopslab submit --anomaly true --confidence 0.9", "field by field"),
        ("aiopslab submit --file answer.json", "a JSON object"),
    ],
    "mcp": [("aiopslab mcp --url $AIOPSLAB_URL", "as the command of an MCP client")],
    "cluster": [
        ("aiopslab cluster up", "a kind cluster with the images of hotel and shop"),
        ("aiopslab cluster status", "everything of ours on it"),
        ("aiopslab cluster down --context lab", "off a cluster of yours, by label"),
    ],
    "clean": [
        ("aiopslab clean --context lab --dry-run", "what is there"),
        ("aiopslab clean --run runs/NAME", "what one run left on its clusters"),
    ],
    "doctor": [
        ("aiopslab doctor", "before the first run"),
        ("aiopslab doctor --context kind-lab", "and whether that cluster can be used"),
    ],
}


def build() -> App:
    """Return the application with every command registered by path."""
    app = App(
        name="aiopslab",
        help=_HELP,
        help_format="plaintext",
        help_prologue=_examples(""),
        version=__version__,
        version_flags=["--version"],
    )
    for name, summary in _COMMANDS.items():
        app.command(
            f"aiopslab.cli.{name}_command:command",
            name=name,
            help=summary,
            help_prologue=_examples(name),
        )
    return app


def _examples(command: str) -> str:
    shown = _EXAMPLES[command]
    width = max(len(line) for line, _ in shown)
    return "\n".join(f"$ {line:<{width}}   # {why}" for line, why in shown) + "\n"
