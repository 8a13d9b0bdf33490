"use strict";
// The graph of lots, drawn from the tables below it: from left to right as material goes.
(function () {
  const { colour, em } = window.mesCharts;
  // What has most to be seen is told by its form, and not by its colour alone.
  const signs = {
    hidden: ["emptyCircle", "--soft", 1.1], held: ["triangle", "--bad", 1.4],
    "on-hand": ["circle", "--series-1", 1.2], none: ["circle", "--soft", 0.7],
  };
  const HEIGHT_MAX = 8000; // of a canvas
  let chart = null;

  function lots(table) {
    return [...table.tBodies[0].rows].map((row) => ({
      id: row.dataset.lot,
      level: Number(row.dataset.level),
      state: row.dataset.state,
      name: row.cells[0].textContent.trim(),
      part: row.querySelector("[data-column=material]").textContent.trim(),
      link: row.querySelector("a")?.href,
    }));
  }

  // Each level is a column, its lots one below the other in the order of the table.
  function place(found, width, height) {
    const levels = [...new Set(found.map((lot) => lot.level))].sort((a, b) => a - b);
    levels.forEach(function (level, across) {
      const column = found.filter((lot) => lot.level === level);
      column.forEach(function (lot, down) {
        lot.x = ((across + 0.5) * width) / levels.length;
        lot.y = ((down + 0.5) * height) / column.length;
      });
    });
  }

  function size(found) {
    const counts = new Map();
    for (const lot of found) counts.set(lot.level, (counts.get(lot.level) ?? 0) + 1);
    return [
      counts.size * 11 * em(),
      Math.min(HEIGHT_MAX, Math.max(220, Math.max(...counts.values()) * 3.2 * em())),
    ];
  }

  function node(lot) {
    const [symbol, shade, scale] = signs[lot.state];
    const start = lot.level === 0;
    return {
      id: lot.id, name: lot.id, x: lot.x, y: lot.y, link: lot.link,
      symbol: start ? "rect" : symbol,
      symbolSize: (start ? 1.5 : scale) * em(),
      itemStyle: {
        color: colour(shade), borderColor: colour(start ? "--ink" : shade),
        borderWidth: start ? 3 : 1,
      },
      label: { formatter: lot.part === "–" ? lot.name : `${lot.name}\n${lot.part}` },
    };
  }

  function edges(table) {
    if (!table) return [];
    return [...table.tBodies[0].rows].map((row) => ({
      source: row.dataset.parent, target: row.dataset.child,
    }));
  }

  function series(found, links) {
    return {
      type: "graph", layout: "none", left: 0, top: 0, right: 0, bottom: 0,
      data: found.map(node), links: links, roam: false,
      edgeSymbol: ["none", "arrow"], edgeSymbolSize: Math.round(0.6 * em()),
      lineStyle: { color: colour("--soft"), width: 1.5, curveness: 0.08 },
      label: {
        show: true, position: "bottom", color: colour("--ink"),
        fontSize: Math.round(0.8 * em()), lineHeight: Math.round(em()), fontFamily: "system-ui, sans-serif",
      },
      labelLayout: { hideOverlap: true },
    };
  }

  // Corners that are not seen, so that a lot's place is the one that it was given.
  function corners(width, height) {
    return [[0, 0], [width, height]].map(([x, y], at) => ({
      id: `corner-${at}`, name: `corner-${at}`, x: x, y: y, symbol: "none", symbolSize: 0,
      label: { show: false },
    }));
  }

  function draw() {
    if (chart && !chart.getDom().isConnected) {
      chart.dispose();
      chart = null;
    }
    const plot = document.querySelector(".graph");
    if (!plot) return;
    const found = lots(document.querySelector("table[data-nodes]"));
    const [least, height] = size(found);
    const width = Math.max(plot.parentElement.clientWidth, least);
    plot.style.width = `${width}px`;
    plot.style.height = `${height}px`;
    place(found, width, height);
    chart?.dispose();
    chart = echarts.init(plot);
    const made = series(found, edges(document.querySelector("table[data-edges]")));
    made.data.push(...corners(width, height));
    chart.setOption({ animation: false, series: [made] });
    chart.on("click", function (event) {
      if (event.data.link) location.href = event.data.link;
    });
    plot.dataset.drawn = String(found.length);
  }

  let wait = 0;
  window.addEventListener("resize", function () {
    clearTimeout(wait);
    wait = setTimeout(draw, 150);
  });
  document.addEventListener("theme", draw);
  document.addEventListener("htmx:afterSettle", draw);
  draw();
})();
