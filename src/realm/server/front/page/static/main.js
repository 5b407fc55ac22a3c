// Joins the views: which is shown, and what the top line says of the server.

import { Admin } from "/page/admin.js";
import { Chat } from "/page/chat.js";
import { Live } from "/page/live.js";
import { element, setText } from "/page/elements.js";

const live = new Live(() => chat.key, showState);
const chat = new Chat(
  (names) => {
    live.setModels(names);
    if (names) showState(200);
    else showState(401);
  },
  (answer) => live.showAnswer(answer),
);
const admin = new Admin(showState);

/** status: of the last answer; 0 when there was none. */
function showState(status) {
  const [state, text] =
    status === 200 ? ["good", "Ready"]
    : status === 401 || status === 403 ? ["waiting", "Key needed"]
    : status === 0 ? ["bad", "No connection"]
    : status === 503 ? ["waiting", "Engine starting"]
    : ["bad", `Answered ${status}`];
  element("state").dataset.state = state;
  setText("state", text);
}

function showView() {
  const isAdmin = location.hash === "#admin";
  element("chat-view").hidden = isAdmin;
  element("admin-view").hidden = !isAdmin;
  document.title = isAdmin ? "Realm, administration" : "Realm";
  for (const link of document.querySelectorAll("[data-view]")) {
    const isCurrent = link.dataset.view === (isAdmin ? "admin" : "chat");
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (isAdmin) admin.show();
  else admin.hide();
}

element("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (location.hash === "#admin" ? element("search") : element("message")).focus();
});
window.addEventListener("hashchange", showView);
showView();
chat.begin();
