"use strict";
// Charts over time, drawn from the table beside each of them: what is drawn is what can be read.
(function () {
  const charts = new Map();
  const strokes = ["--series-1", "--series-2", "--series-3", "--series-4"];
  const dashes = [[], [7, 4], [2, 4], [10, 3, 2, 3]];

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Days, weeks, months and hours as the reports name them, each by the clock of its site.
  function seconds(text) {
    const found = /^(\d{4})-(\d\d)(?:-(\d\d))?(?:T(\d\d):(\d\d))?$/.exec(text);
    if (!found) return NaN;
    const [, year, month, day, hour, minute] = found.map((part) => Number(part || 0));
    return Date.UTC(year, month - 1, day || 1, hour, minute) / 1000;
  }

  // The numbers of some columns of a table; what is empty there is a gap.
  function numbers(rows, names) {
    return names.map((name) =>
      rows.map((row) => {
        const text = row.querySelector(`[data-column="${name}"]`).dataset.value;
        return text === "" ? null : Number(text);
      }),
    );
  }

  const DAY = 86400;
  const steps = { hour: 3600, day: DAY, week: 7 * DAY };

  // When the piece of time after one begins; of months, quarters and years by the calendar.
  function following(at, piece) {
    if (piece in steps) return at + steps[piece];
    const months = { month: 1, quarter: 3, year: 12 }[piece];
    const date = new Date(at * 1000);
    return months
      ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1) / 1000
      : Infinity;
  }

  // A piece of time of which the table says nothing is a gap, and no line over it.
  function withGaps(times, columns, piece) {
    const all = [];
    times.forEach((at, row) => {
      for (let gap = row && following(times[row - 1], piece); row && gap < at;
           gap = following(gap, piece)) {
        all.push([gap, columns.map(() => null)]);
      }
      all.push([at, columns.map((column) => column[row])]);
    });
    return [all.map(([at]) => at), columns.map((_, index) => all.map(([, row]) => row[index]))];
  }

  function read(table) {
    const names = table.dataset.trend.split(" ");
    const rows = [...table.tBodies[0].rows];
    const told = rows.map((row) => seconds(row.cells[0].textContent.trim()));
    const piece = rows[0].cells[0].dataset.column;
    const [times, columns] = withGaps(told, numbers(rows, names), piece);
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const at = (name) =>
      [...rows[0].cells].findIndex((cell) => cell.dataset.column === name);
    return { times, columns, labels: names.map((name) => heads[at(name)]) };
  }

  // As large as the text of the page, which grows with the screen.
  const em = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

  function axis() {
    return {
      stroke: colour("--ink"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: `${Math.round(0.8 * em())}px system-ui, sans-serif`,
      size: Math.round(2.4 * em()),
    };
  }

  function days() {
    return { incrs: [1, 2, 7, 14, 28, 91, 182, 364].map((count) => count * DAY) };
  }

  function named(at, whole) {
    const text = new Date(at * 1000).toISOString();
    return whole ? text.slice(0, 10) : text.slice(0, 16).replace("T", " ");
  }

  function options(found, width) {
    const whole = found.times.every((at) => at % DAY === 0);
    const x = {
      values: (_, ats) => ats.map((at) => named(at, whole).slice(5)),
      space: Math.round(6 * em()),
      ...(whole ? days() : {}),
    };
    return {
      width: width,
      height: Math.max(200, Math.min(30 * em(), Math.round(width / 3.2))),
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] } },
      axes: [Object.assign(axis(), x), Object.assign(axis(), { size: Math.round(4 * em()) })],
      series: [
        { label: "When", value: (_, at) => (at === null ? "" : named(at, whole)) },
        ...found.labels.map((label, index) => ({
          label: label,
          stroke: colour(strokes[index]),
          dash: dashes[index],
          width: 2,
          spanGaps: false,
          points: { show: found.times.length < 60, size: 6 },
        })),
      ],
    };
  }

  // What a plot is drawn of, by its data-kind: options and columns of uPlot.
  const kinds = {
    trend(table, width) {
      const found = read(table);
      return [options(found, width), [found.times, ...found.columns]];
    },
  };

  function draw(plot) {
    const kind = kinds[plot.dataset.kind];
    if (!kind) return; // its script has not run yet, and draws all when it has
    // The legend of a plot that is drawn is a table, too.
    const table = plot.closest("figure").querySelector(".as-table table");
    const [options, columns] = kind(table, plot.clientWidth);
    charts.get(plot)?.destroy();
    const chart = new uPlot(options, columns, plot);
    // Its legend is a table of its own that a reader of the page has no use for beside ours.
    plot.querySelector(".u-legend")?.setAttribute("aria-hidden", "true");
    charts.set(plot, chart);
  }

  function drawAll() {
    for (const [plot, chart] of charts) {
      if (plot.isConnected) continue;
      chart.destroy();
      charts.delete(plot);
    }
    document.querySelectorAll(".plot").forEach(draw);
  }

  let wait = 0;
  window.addEventListener("resize", function () {
    clearTimeout(wait);
    wait = setTimeout(drawAll, 150);
  });
  document.addEventListener("theme", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
  drawAll();
  window.mesCharts = { axis, colour, em, numbers, kinds, withGaps, drawAll };
})();
