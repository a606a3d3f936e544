/** Modal dialogs, which may lie upon each other; the notices are always in the topmost. */

export function createDialogs(notices) {
  const open = [];

  return {
    isOpen: () => open.length > 0,

    show(dialog) {
      if (dialog.open) return;
      dialog.showModal();
      open.push(dialog);
      notices.moveInto(dialog);
    },

    /** Closing gives the focus back to where it was when the dialog opened. */
    hide(dialog) {
      if (!dialog.open) return;
      open.splice(open.indexOf(dialog), 1);
      notices.moveInto(open.at(-1));
      dialog.close();
    },

    /** Escape, and a phone's back gesture, mean what `leave` does. */
    onEscape(dialog, leave) {
      dialog.addEventListener('cancel', (event) => {
        if (event.target !== dialog) return;
        event.preventDefault();
        leave();
      });
      // A second Escape in a row closes a dialog whatever the page says.
      dialog.addEventListener('close', () => {
        if (open.includes(dialog)) {
          open.splice(open.indexOf(dialog), 1);
          notices.moveInto(open.at(-1));
          leave();
        }
      });
    },
  };
}
