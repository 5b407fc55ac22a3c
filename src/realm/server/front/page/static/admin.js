// The view of administrators: every tenant with its load.

import { Poll } from "/page/poll.js";
import { askJson } from "/page/server.js";
import {
  Chart, Rate, acceptance, bytes, count, decimal, element, make, percent, setNotice, setText,
} from "/page/elements.js";

const STORED_KEY = "realm.admin-key";
const ROWS = 200;

/** onState: called with the status of the last look. */
export class Admin {
  constructor(onState) {
    this.onState = onState;
    this.key = sessionStorage.getItem(STORED_KEY) ?? "";
    this.chart = new Chart("all-chart");
    this.rate = new Rate();
    this.rows = new Rate();
    this.steps = new Rate();
    this.rates = new Map();
    this.lines = new Map();
    this.visit = 0;
    this.poll = new Poll(() => this.look(), 2000);
    element("admin-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.key = element("admin-key").value.trim();
      if (this.key) this.show();
    });
    element("admin-forget").addEventListener("click", () => {
      this.leave("");
      element("admin-key").focus();
    });
    element("search").addEventListener("input", () => this.poll.start());
  }

  show() {
    if (this.key) this.poll.start();
    else element("admin-key").focus();
  }

  hide() {
    this.poll.stop();
  }

  leave(notice) {
    this.poll.stop();
    this.visit += 1;
    this.key = "";
    sessionStorage.removeItem(STORED_KEY);
    element("admin-body").hidden = true;
    element("admin-form").hidden = false;
    element("tenants").replaceChildren();
    this.lines.clear();
    setNotice("admin-error", notice);
  }

  async look() {
    const visit = ++this.visit;
    const search = element("search").value.trim();
    const query = new URLSearchParams({ limit: String(ROWS), search });
    let told;
    try {
      told = await askJson(`/admin/figures?${query}`, this.key);
    } catch (error) {
      if (visit !== this.visit) return;
      if (error.status === 401 || error.status === 403) this.leave(error.message);
      else setNotice("admin-error", error.message);
      this.onState(error.status);
      throw error;
    }
    if (visit !== this.visit) return;
    sessionStorage.setItem(STORED_KEY, this.key);
    element("admin-key").value = "";
    element("admin-form").hidden = true;
    element("admin-body").hidden = false;
    setNotice("admin-error", "");
    this.onState(told.is_ready ? 200 : 503);
    this.showTotals(told);
    this.showTenants(told);
  }

  showTotals(told) {
    const { total, engine } = told;
    this.chart.add(told.batch_fill);
    setText("all-fill", percent(told.batch_fill));
    const steps = this.steps.add(told.at, engine.steps ?? 0);
    const rows = this.rows.add(told.at, engine.rows ?? 0);
    setText("all-rows", steps ? decimal(rows / steps) : "–");
    setText("all-running", count(total.running));
    setText("all-queued", count(total.queued));
    setText("all-rate", decimal(this.rate.add(told.at, total.completion_tokens)));
    setText("all-accepted", acceptance(total));
    setText("all-cache", bytes(total.cache_bytes));
    const adapters = engine.resident_adapters;
    setText("all-adapters", adapters === undefined ? bytes(engine.resident_adapter_bytes ?? 0) : count(adapters));
    const isAll = told.matching === told.tenants.length;
    const shown = isAll ? count(told.matching) : `${count(told.tenants.length)} of ${count(told.matching)}`;
    setText("shown", `${shown} tenants${isAll ? "" : ", the busiest first"}`);
  }

  showTenants(told) {
    const rows = told.tenants.map((tenant) => {
      const row = this.lines.get(tenant.tenant_id) ?? newRow(tenant.tenant_id);
      fill(row, tenant, this.rateOf(tenant, told.at));
      return [tenant.tenant_id, row];
    });
    this.lines = new Map(rows);
    for (const name of this.rates.keys()) if (!this.lines.has(name)) this.rates.delete(name);
    element("tenants").replaceChildren(...this.lines.values());
  }

  rateOf(tenant, at) {
    let rate = this.rates.get(tenant.tenant_id);
    if (!rate) this.rates.set(tenant.tenant_id, (rate = new Rate()));
    return rate.add(at, tenant.figures.completion_tokens);
  }
}

function newRow(tenantId) {
  const row = make("tr");
  const name = make("th", "", tenantId);
  name.scope = "row";
  row.append(name);
  for (let column = 0; column < 12; column++) row.append(make("td"));
  return row;
}

function fill(row, tenant, rate) {
  const figures = tenant.figures;
  const cells = [
    count(figures.running), count(figures.queued), decimal(rate), count(figures.requests),
    count(figures.failures), count(figures.prompt_tokens), count(figures.completion_tokens),
    acceptance(figures), bytes(figures.cache_bytes), `${decimal(figures.guest_seconds)} s`,
    count(figures.traps), count(figures.limits_reached),
  ];
  const name = tenant.is_enabled ? tenant.tenant_id : `${tenant.tenant_id} (off)`;
  if (row.cells[0].textContent !== name) row.cells[0].textContent = name;
  cells.forEach((text, index) => {
    const cell = row.cells[index + 1];
    if (cell.textContent !== text) cell.textContent = text;
    cell.classList.toggle("zero", /^0(\.0)?( (B|s))?$|^–$/.test(text));
  });
  row.classList.toggle("busy", figures.running > 0);
}
