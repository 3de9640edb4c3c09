# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
"""Asks TensorBoard what it makes of a folder of runs.

    tensorboard_check.py FOLDER

Starts TensorBoard as a child process, on a free port of this machine alone,
and prints one JSON object with the answers of its HTTP API:

    runs        all runs
    scalars     run -> tag -> [step, value] of each point
    histograms  run -> tag -> number of points
    images      run -> tag -> size of the first image in bytes, its type and
                its first bytes in hexadecimal digits
    text        run -> tag -> [step, text as HTML] of each point
    graphs      run -> number of nodes of the graph it draws

Prints the word `missing` when this Python has no TensorBoard.
"""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request


class Server:
    """A TensorBoard that has read its folder when it begins to answer."""

    def __init__(self, folder):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", folder,
             "--host", "127.0.0.1", "--port", "0", "--load_fast", "false",
             "--reload_interval", "0", "--reload_task", "blocking"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = ""
        self._address = None
        for line in self._process.stderr:
            said += line
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                self._address = found.group()
                return
        sys.exit("error: TensorBoard did not start: " + said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.communicate()

    def get(self, path, **query):
        """The bytes and the type of an answer."""
        url = f"{self._address}/data/{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read(), answer.headers["Content-Type"]

    def json(self, path, **query):
        """An answer that is JSON."""
        return json.loads(self.get(path, **query)[0])

    def each_tag(self, plugin, function):
        """run -> tag -> what `function` gives for them, where there are any."""
        tags = self.json(f"plugin/{plugin}/tags")
        return {run: {tag: function(run=run, tag=tag) for tag in tags[run]}
                for run in tags if tags[run]}

    def scalars(self, **series):
        """[step, value] of each point."""
        return [[step, value] for _, step, value
                in self.json("plugin/scalars/scalars", **series)]

    def histograms(self, **series):
        """The number of points."""
        return len(self.json("plugin/histograms/histograms", **series))

    def first_image(self, **series):
        """Size, type and first bytes of the first image."""
        images = self.json("plugin/images/images", sample=0, **series)
        content, kind = self.get("plugin/images/individualImage?" +
                                 images[0]["query"])
        return [len(content), kind, content[:8].hex()]

    def text(self, **series):
        """[step, HTML] of each point."""
        return [[point["step"], point["text"]]
                for point in self.json("plugin/text/text", **series)]

    def graph_nodes(self, run):
        """The number of nodes of the graph that is drawn for a run."""
        text = self.get("plugin/graphs/graph", run=run)[0].decode()
        return len(re.findall(r"^node \{", text, re.MULTILINE))


def check(folder):
    """Everything this program prints, as a dictionary."""
    with Server(folder) as server:
        graphs = server.json("plugin/graphs/info")
        return {
            "runs": sorted(server.json("runs")),
            "scalars": server.each_tag("scalars", server.scalars),
            "histograms": server.each_tag("histograms", server.histograms),
            "images": server.each_tag("images", server.first_image),
            "text": server.each_tag("text", server.text),
            "graphs": {run: server.graph_nodes(run) for run in graphs
                       if graphs[run]["run_graph"]},
        }


def main():
    """Prints the answers."""
    parser = argparse.ArgumentParser(description="Ask TensorBoard.")
    parser.add_argument("folder", help="folder of runs")
    folder = parser.parse_args().folder
    if importlib.util.find_spec("tensorboard") is None:
        print("missing")
    else:
        print(json.dumps(check(folder)))


if __name__ == "__main__":
    main()
