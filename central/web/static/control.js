"use strict";
// Control charts, drawn from the table below each: points, centre line, limits, and what breaks a rule.
(function () {
  const { axis, colour, em, numbers, kinds, drawAll } = window.mesCharts;
  const names = ["value", "centre", "lower", "upper", "lsl", "usl"];

  function line(label, stroke, dash) {
    return {
      label: label, stroke: colour(stroke), dash: dash, width: 1.5, spanGaps: false,
      points: { show: false },
      value: (_, value) => (value === null ? "" : String(Number(value.toPrecision(6)))),
    };
  }

  // A ring around the point, so that it is told by its form and not by its colour alone.
  function ring() {
    return {
      ...line("Breaks a rule", "--bad", []),
      paths: () => null,
      points: { show: true, size: Math.round(1.1 * em()), width: 3, fill: "transparent" },
    };
  }

  kinds.control = function (table, width) {
    const rows = [...table.tBodies[0].rows];
    const points = rows.map((row) => Number(row.querySelector("[data-column=point]").dataset.value));
    const columns = numbers(rows, names);
    const fired = rows.map((row, at) => ("fires" in row.dataset ? columns[0][at] : null));
    const value = line("Value", "--series-1", []);
    value.points = { show: points.length < 200, size: 6 };
    const series = [
      { label: "Point" }, value,
      line("Centre", "--good", []), line("Lower control limit", "--warn", [8, 5]),
      line("Upper control limit", "--warn", [8, 5]), line("LSL", "--bad", [2, 4]),
      line("USL", "--bad", [2, 4]), ring(),
    ];
    // Of a chart that is held against no specification there is no line to tell of.
    const data = [points, ...columns, fired];
    const used = data.map((column, at) => at < 2 || column.some((each) => each !== null));
    return [
      {
        width: width,
        height: Math.max(220, Math.min(30 * em(), Math.round(width / 3.2))),
        scales: { x: { time: false } },
        axes: [
          { ...axis(), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
          { ...axis(), size: Math.round(4.5 * em()) },
        ],
        series: series.filter((_, at) => used[at]),
      },
      data.filter((_, at) => used[at]),
    ];
  };
  drawAll();
})();
