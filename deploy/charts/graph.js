// What the page of genealogy draws with: of Apache ECharts the series of graphs, on a canvas, and
// no more. Its SVG renderer and its tooltips write styles into the page, which our policy refuses.
import { GraphChart } from "echarts/charts";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([GraphChart, CanvasRenderer]);
export { init };
