"use strict";
(function () {
  var facts = JSON.parse(document.getElementById("facts").textContent);
  var steps = facts.steps, total = d3.sum(steps, function (s) { return s.us; });
  var stored = {};
  facts.tensors.forEach(function (t) { stored[t.name] = t; });
  // The passes name the integers of a tensor so.
  function storedOf(name) { return stored[name] || stored[name.replace(/_quantized$/, "")]; }

  function time(us) { return us < 1000 ? us.toFixed(1) + " µs" : (us / 1000).toFixed(2) + " ms"; }
  function share(x, digits) { return (100 * x).toFixed(digits === undefined ? 1 : digits) + " %"; }
  function short(n) { return n < 1000 ? String(n) : d3.format(".3s")(n); }
  function bytes(n) { return n < 1048576 ? (n / 1024).toFixed(1) + " KiB" : (n / 1048576).toFixed(1) + " MiB"; }
  function plot(selector, width, height) {
    return d3.select(selector).append("svg").attr("viewBox", "0 0 " + width + " " + height);
  }
  function describe(list, rows) {
    var items = list.selectAll("div").data(rows).enter().append("div");
    items.append("dt").text(function (r) { return r[0]; });
    items.append("dd").text(function (r) { return r[1]; });
  }

  function header() {
    d3.select("#title").text(facts.model);
    d3.select("#about").text(facts.isa + ", batches of " + facts.batch + ", one thread, " +
                             share(facts.int8_mac_ratio) + " of multiply-adds in INT8");
  }

  function speed() {
    var both = [{ name: "fp32", of: facts.fp32 }, { name: facts.served.precision, of: facts.served }];
    var most = d3.max(both, function (b) { return b.of.throughput_per_s; });
    var svg = plot("#speed .plot", 560, 96), x = d3.scale.linear().domain([0, most]).range([0, 360]);
    var rows = svg.selectAll("g").data(both).enter().append("g")
      .attr("transform", function (b, i) { return "translate(0," + (i * 46) + ")"; });
    rows.append("text").attr("y", 25).text(function (b) { return b.name; });
    rows.append("rect").attr({ x: 70, y: 6, height: 30, rx: 5 })
      .attr("class", function (b) { return b.name; })
      .attr("width", function (b) { return x(b.of.throughput_per_s); });
    rows.append("text").attr("class", "value").attr("y", 25)
      .attr("x", function (b) { return 80 + x(b.of.throughput_per_s); })
      .text(function (b) { return short(Math.round(b.of.throughput_per_s)) + " rows/s"; });
    var numbers = [
      ["times as fast", (facts.served.throughput_per_s / facts.fp32.throughput_per_s).toFixed(2)],
      ["p50 of a batch", facts.fp32.latency_ms.p50.toFixed(3) + " → " + facts.served.latency_ms.p50.toFixed(3) + " ms"],
      ["weights", bytes(facts.fp32.weights_bytes) + " → " + bytes(facts.served.weights_bytes)]];
    if (facts.accuracy) numbers.push(["agrees with FP32", share(facts.accuracy.agreement, 2)],
                                     ["mean error", share(facts.accuracy.error, 2)]);
    describe(d3.select("#speed .numbers"), numbers);
  }

  function precisions() {
    var by = d3.nest().key(function (s) { return s.precision; })
      .rollup(function (list) { return { us: d3.sum(list, function (s) { return s.us; }), steps: list.length }; })
      .entries(steps).sort(function (a, b) { return b.values.us - a.values.us; });
    var svg = plot("#precisions .plot", 560, 30 + 22 * Math.ceil(by.length)), at = 0;
    by.forEach(function (p, i) {
      var width = 560 * p.values.us / total;
      svg.append("rect").attr({ x: at, width: Math.max(width - 2, 1), height: 22, rx: 4, "class": p.key });
      svg.append("text").attr({ y: 44 + 20 * i })
        .text(p.key + ": " + share(p.values.us / total) + " of the time in " + p.values.steps + " steps");
      at += width;
    });
    var slow = steps.slice().sort(function (a, b) { return b.us - a.us; }).slice(0, 5);
    var table = d3.select("#precisions").append("table").append("tbody");
    slow.forEach(function (s) {
      var row = table.append("tr").attr("class", "selectable").on("click", function () { select(s); });
      row.append("td").text(s.step);
      row.append("td").text(s.kernel);
      row.append("td").attr("class", "number").text(share(s.us / total));
    });
  }

  // The trials of tune.json: what is best has no other above and right of it.
  function frontier() {
    var tune = facts.tune, section = d3.select("#frontier");
    if (!tune || !tune.baseline || !Array.isArray(tune.trials)) return section.attr("hidden", "");
    var width = 1160, height = 300, left = 60, bottom = 40;
    var points = tune.trials.concat([{ id: "baseline", strategy: "baseline", score: tune.baseline.score,
                                       throughput_per_s: tune.baseline.throughput_per_s, changes: [], ok: false }])
      .filter(function (t) { return typeof t.score === "number"; });  // FP32's own signal-to-noise is no number
    if (!points.length) return section.attr("hidden", "");
    var x = d3.scale.linear().domain(d3.extent(points, function (t) { return t.throughput_per_s; })).nice().range([left, width - 20]);
    var y = d3.scale.linear().domain(d3.extent(points, function (t) { return t.score; })).nice().range([height - bottom, 12]);
    var svg = plot("#frontier .plot", width, height);
    svg.append("g").attr({ "class": "axis", transform: "translate(0," + (height - bottom) + ")" }).call(d3.svg.axis().scale(x).orient("bottom"));
    svg.append("g").attr({ "class": "axis", transform: "translate(" + left + ",0)" }).call(d3.svg.axis().scale(y).orient("left").ticks(5));
    svg.append("text").attr({ x: width - 20, y: height - 4, "text-anchor": "end" }).text(tune.metric + " over rows a second");
    var best = -Infinity;
    var edge = points.slice().sort(function (a, b) { return b.throughput_per_s - a.throughput_per_s; })
      .filter(function (t) { var is = t.score > best; best = Math.max(best, t.score); return is; });
    svg.append("path").attr("class", "frontier").attr("d", d3.svg.line().interpolate("step-before")
      .x(function (t) { return x(t.throughput_per_s); }).y(function (t) { return y(t.score); })(edge));
    function tell(t) {
      section.select(".chosen").text((t.id === tune.best ? "best: " : "") + "trial " + t.id + ", " + t.strategy + ": " + tune.metric + " " +
        t.score + ", " + Math.round(t.throughput_per_s) + " rows/s" + (t.changes.length ? "; " + t.changes.join(", ") : ""));
    }
    svg.selectAll("circle").data(points).enter().append("circle").attr("r", 6)
      .attr("class", function (t) { return "dot" + (t.ok ? " ok" : "") + (t.id === tune.best ? " best" : ""); })
      .attr("cx", function (t) { return x(t.throughput_per_s); }).attr("cy", function (t) { return y(t.score); })
      .on("click", tell).append("title").text(function (t) { return t.strategy; });
    tell(points.filter(function (t) { return t.id === tune.best; })[0] || points[0]);
  }

  // Steps below what they read, side by side where nothing orders them.
  function layout() {
    var maker = {}, layers = [];
    steps.forEach(function (s) { s.makes.forEach(function (t) { maker[t.name] = s; }); });
    steps.forEach(function (s) {
      s.from = s.reads.map(function (t) { return maker[t.name]; }).filter(function (m) { return m && m !== s; });
      s.layer = s.from.length ? 1 + d3.max(s.from, function (m) { return m.layer || 0; }) : 0;
      (layers[s.layer] = layers[s.layer] || []).push(s);
    });
    layers.forEach(function (list) {
      list.sort(function (a, b) { return (d3.mean(a.from, function (m) { return m.x; }) || 0) - (d3.mean(b.from, function (m) { return m.x; }) || 0); });
      list.forEach(function (s, i) { s.x = i - (list.length - 1) / 2; });
    });
    return layers;
  }

  function graph() {
    var layers = layout(), most = d3.max(layers, function (l) { return l.length; });
    var width = Math.max(540, most * 190), apart = 46, height = layers.length * apart + 10;
    function x(s) { return width / 2 + s.x * 190; }
    function y(s) { return s.layer * apart + 6; }
    var svg = plot("#graph .plot", width, height).style("min-width", most * 170 + "px");
    steps.forEach(function (s) {
      s.from.forEach(function (m) {
        // What passes other layers by goes round them.
        var aside = s.layer - m.layer > 1 && m.x === s.x ? 110 : 0, y1 = y(m) + 30, y2 = y(s);
        svg.append("path").attr("class", "edge").attr("d", "M" + x(m) + " " + y1 + "C" + (x(m) + aside * 1.4) + " " + (y1 + 18 + aside / 4) + " " +
          (x(s) + aside * 1.4) + " " + (y2 - 18 - aside / 4) + " " + x(s) + " " + y2);
      });
    });
    var nodes = svg.selectAll(".node").data(steps).enter().append("g").attr("class", "node")
      .attr("transform", function (s) { return "translate(" + (x(s) - 85) + "," + y(s) + ")"; }).on("click", select);
    nodes.append("rect").attr({ width: 170, height: 30 }).attr("class", function (s) { return s.precision; });
    nodes.append("text").attr({ x: 85, y: 19, "text-anchor": "middle" })
      .text(function (s) { return s.step.length > 25 ? "…" + s.step.slice(-24) : s.step; });
    nodes.append("title").text(function (s) { return s.step + ": " + s.operator + ", " + time(s.us); });
    d3.keys(d3.nest().key(function (s) { return s.precision; }).map(steps)).forEach(function (p) {
      var item = d3.select("#graph .legend").append("span");
      item.append("svg").attr("viewBox", "0 0 10 10").append("rect").attr({ width: 10, height: 10, rx: 3, "class": p });
      item.append("span").text(p);
    });
  }

  // What calibration saw of the tensor, between the thresholds that its integers reach.
  function histogram(parent, tensor) {
    var width = 540, height = 110, low = Math.min(tensor.seen[0], tensor.reaches[0]), high = Math.max(tensor.seen[1], tensor.reaches[1]);
    var x = d3.scale.linear().domain([low, high]).range([0, width]);
    var y = d3.scale.sqrt().domain([0, d3.max(tensor.counts)]).range([0, 80]);
    parent.append("h3").text(tensor.name + ": clipped " + share(tensor.clipped, 3) + ", " + tensor.snr_db.toFixed(1) + " dB, " +
                             share(tensor.used, 0) + " of the range used");
    var svg = parent.append("svg").attr("class", "histogram").attr("viewBox", "0 0 " + width + " " + height);
    svg.append("rect").attr({ "class": "reach", x: x(tensor.reaches[0]), width: x(tensor.reaches[1]) - x(tensor.reaches[0]), y: 0, height: 84 });
    var bin = (tensor.seen[1] - tensor.seen[0]) / tensor.counts.length;
    tensor.counts.forEach(function (count, i) {
      var at = tensor.seen[0] + bin * i, inside = at + bin / 2 >= tensor.reaches[0] && at + bin / 2 <= tensor.reaches[1];
      svg.append("rect").attr({ "class": inside ? "seen" : "lost", x: x(at), width: Math.max(x(at + bin) - x(at) - .5, .5), y: 84 - y(count), height: y(count) });
    });
    tensor.reaches.forEach(function (t) {
      svg.append("line").attr({ "class": "threshold", x1: x(t), x2: x(t), y1: 0, y2: 84 });
    });
    svg.append("g").attr({ "class": "axis", transform: "translate(0,84)" }).call(d3.svg.axis().scale(x).orient("bottom").ticks(7));
  }

  function select(step) {
    d3.selectAll(".node").classed("selected", function (s) { return s === step; });
    d3.selectAll("#steps tbody tr").classed("selected", function (s) { return s === step; });
    var section = d3.select("#step");
    section.select("h2").text(step.step);
    section.select(".facts").html("");
    describe(section.select(".facts"), [["operator", step.operator], ["precision", step.precision], ["kernel", step.kernel],
      ["shape", step.shape.join(" × ")], ["time", time(step.us) + ", " + share(step.us / total)],
      ["multiply-adds", short(step.macs)], ["bytes moved", short(step.bytes)],
      ["reads", step.reads.map(function (t) { return t.name + " " + t.dtype; }).join(", ")],
      ["makes", step.makes.map(function (t) { return t.name + " " + t.dtype; }).join(", ")]]);
    var tensors = section.select(".tensors").html("");
    step.makes.concat(step.reads).map(function (t) { return storedOf(t.name); }).filter(Boolean)
      .forEach(function (t) { histogram(tensors, t); });
    // The first that takes a step runs it.
    var runs = step.offers.filter(function (o) { return o.takes; })[0];
    section.selectAll("h3.kernels, .offers").attr("hidden", step.offers.length ? null : "");
    table(section.select(".offers"), ["kernel", "answer"], step.offers.map(function (o) {
      return { cells: [o.kernel, o === runs ? "runs it" : o.takes ? "would take it" : o.reason] };
    }));
  }

  function table(element, names, rows) {
    element.html("");
    var head = element.append("thead").append("tr").selectAll("th").data(names).enter().append("th").text(String);
    var body = element.append("tbody").selectAll("tr").data(rows.map(function (r) { return r; })).enter().append("tr");
    rows.forEach(function (row, i) {
      d3.select(body[0][i]).selectAll("td").data(row.cells).enter().append("td")
        .attr("class", function (c) { return typeof c === "object" ? "number" : null; })
        .text(function (c) { return typeof c === "object" ? c.text : c; });
      if (row.of) d3.select(body[0][i]).datum(row.of).attr("class", "selectable").on("click", select);
    });
    if (rows.length) head.attr("class", function (n, i) { return typeof rows[0].cells[i] === "object" ? "number" : null; });
    if (element.classed("sortable")) head.on("click", function (name, i) {
      function key(r) { var c = r.cells[i]; return typeof c === "object" ? -c.value : c; }
      table(element, names, rows.slice().sort(function (a, b) { return d3.ascending(key(a), key(b)); }));
      element.selectAll("th").filter(function (n, k) { return k === i; }).classed("by", true);
    });
  }
  function number(value, text) { return { value: value, text: text }; }

  function tables() {
    table(d3.select("#steps table"), ["step", "operator", "precision", "kernel", "time", "share", "multiply-adds", "refused"],
      steps.map(function (s) {
        var refused = s.offers.filter(function (o) { return !o.takes; }).length;
        return { of: s, cells: [s.step, s.operator, s.precision, s.kernel, number(s.us, time(s.us)), number(s.us, share(s.us / total)),
                                number(s.macs, short(s.macs)), number(refused, String(refused))] };
      }));
    table(d3.select("#stored table"), ["tensor", "seen", "reaches", "clipped", "used", "signal to noise"],
      facts.tensors.map(function (t) {
        return { cells: [t.name, t.seen.map(d3.format(".4r")).join(" … "), t.reaches.map(d3.format(".4r")).join(" … "),
                         number(t.clipped, share(t.clipped, 3)), number(t.used, share(t.used, 0)), number(-t.snr_db, t.snr_db.toFixed(1) + " dB")] };
      }));
    table(d3.select("#passes table"), ["pass", "changed lines", "time"], facts.passes.filter(function (p) { return p.changes; })
      .map(function (p) { return { cells: [p.pass, number(p.changes, String(p.changes)), number(p.ms, p.ms.toFixed(2) + " ms")] }; }));
    table(d3.select("#repairs table"), ["repair", "of", "noise off"], facts.repairs.map(function (r) {
      return { cells: [r.repair, r.name, number(r.gain_db, r.gain_db.toFixed(1) + " dB")] };
    }));
    if (!facts.tensors.length) d3.select("#stored").attr("hidden", "");
    if (!facts.repairs.length) d3.select("#repairs").attr("hidden", "");
  }

  header(); speed(); precisions(); frontier(); graph(); tables();
  select(steps.slice().sort(function (a, b) { return b.us - a.us; })[0]);
})();
