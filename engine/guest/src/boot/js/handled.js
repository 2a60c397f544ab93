// `HandledPromise`, as the packages @endo/eventual-send and @endo/captp use it: promises that are pending, and objects, to which a program's
// own handler does what is sent. One function expression: called once, after lockdown, with the native powers; it returns the constructor.
//
// The runtime itself knows the way of a message, also through promises that were resolved with others; what is here is what a handler is asked,
// and that a message to a promise is taken either by the handler or by the settlement, in its turn.
(function handledPromises(powers) {
  'use strict';

  const { harden, plainPromise, react } = powers;
  const { handlePromise, unhandlePromise, handlePresence, handlerFor, invokeNow, eventual, installHandled } = powers;
  const { create, setPrototypeOf, defineProperty } = Object;
  const { construct, ownKeys } = Reflect;

  const presenceToPromise = new WeakMap();

  const keyOf = key => (typeof key === 'symbol' ? key : `${key}`);
  const nothing = plainPromise(undefined);

  const checked = handler => {
    if (Object(handler) !== handler) throw TypeError(`a handler must be an object, not ${handler === null ? 'null' : typeof handler}`);
    return handler;
  };

  // Has a handler do it. One that lacks the operation is asked for what the operation is made of.
  const dispatch = (handler, operation, target, key, args, result, only) => {
    const parts = { get: [key], applyFunction: [args], applyMethod: [key, args] }[operation];
    if (only && typeof handler[`${operation}SendOnly`] === 'function') {
      handler[`${operation}SendOnly`](target, ...parts);
      return undefined;
    }
    if (typeof handler[operation] === 'function') return handler[operation](target, ...parts, result);
    if (operation === 'applyMethod' && typeof handler.get === 'function') {
      return eventual(handler.get(target, key), 'applyFunction', undefined, args, false);
    }
    if (operation === 'applyFunction' && typeof handler.applyMethod === 'function') {
      return handler.applyMethod(target, undefined, args, result);
    }
    const names = ownKeys(handler).filter(name => typeof handler[name] === 'function').map(String);
    throw TypeError(`the handler has no method for ${operation} (has ${JSON.stringify(names)})`);
  };

  // Sends to a promise that a handler is asked for while it is pending.
  const send = (target, operation, key, args, only) => {
    let resolve;
    let reject;
    const result = new Promise((res, rej) => {
      resolve = res;
      reject = rej;
    });
    let over = false;
    const take = act => {
      if (over) return;
      over = true;
      try {
        resolve(act());
      } catch (reason) {
        reject(reason);
      }
    };
    // The reaction keeps the place among all that was sent to the target, if it settles before the next turn.
    react(target, value => take(() => invokeNow(value, operation, key, args)), reason => {
      if (!over) reject(reason);
      over = true;
    });
    react(nothing, () => {
      const found = over ? undefined : handlerFor(target);
      if (found === undefined) return;
      const [promise, handler] = found;
      take(() => dispatch(handler, operation, promise, key, args, result, only));
    });
    return only ? undefined : result;
  };

  function HandledPromise(executor, pendingHandler = undefined) {
    if (new.target === undefined) throw TypeError('HandledPromise must be called with new');
    let settle;
    let refuse;
    const promise = construct(Promise, [(resolve, reject) => {
      settle = resolve;
      refuse = reject;
    }], new.target);
    if (pendingHandler !== undefined) handlePromise(promise, checked(pendingHandler));
    harden(promise);
    let over = false;
    let presence;
    const end = () => {
      over = true;
      unhandlePromise(promise);
    };
    const resolveHandled = value => {
      if (over) return;
      end();
      settle(value);
    };
    const rejectHandled = reason => {
      if (over) return;
      end();
      refuse(harden(reason));
    };
    const resolveWithPresence = (presenceHandler = pendingHandler, options = {}) => {
      if (over) return presence;
      checked(presenceHandler);
      const { proxy } = options;
      if (proxy === undefined) {
        presence = create(null);
      } else {
        const { handler, target, revokerCallback } = proxy;
        const { proxy: made, revoke } = Proxy.revocable(target, handler);
        presence = made;
        if (revokerCallback !== undefined) revokerCallback(revoke);
      }
      handlePresence(presence, presenceHandler);
      presenceToPromise.set(presence, promise);
      end();
      settle(presence);
      return presence;
    };
    executor(resolveHandled, rejectHandled, resolveWithPresence);
    return promise;
  }

  const list = args => harden([...args]);
  const statics = {
    get: (target, key) => eventual(target, 'get', keyOf(key), [], false),
    getSendOnly: (target, key) => { eventual(target, 'get', keyOf(key), [], true); },
    applyFunction: (target, args) => eventual(target, 'applyFunction', undefined, list(args), false),
    applyFunctionSendOnly: (target, args) => { eventual(target, 'applyFunction', undefined, list(args), true); },
    applyMethod: (target, key, args) => eventual(target, 'applyMethod', keyOf(key), list(args), false),
    applyMethodSendOnly: (target, key, args) => { eventual(target, 'applyMethod', keyOf(key), list(args), true); },
    resolve: value => harden((Object(value) === value ? presenceToPromise.get(value) : undefined) ?? plainPromise(value)),
  };
  setPrototypeOf(HandledPromise, Promise);
  HandledPromise.prototype = Promise.prototype;
  for (const name of ownKeys(statics)) {
    defineProperty(HandledPromise, name, { value: statics[name], writable: false, enumerable: false, configurable: false });
  }

  installHandled(dispatch, send);
  return HandledPromise;
})
