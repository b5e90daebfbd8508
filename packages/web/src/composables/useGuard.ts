import { type InjectionKey, type Ref, inject, provide, ref } from 'vue';

const key: InjectionKey<Readonly<Ref<boolean>>> = Symbol('guard');

/** Below here, what strangers sent is not loaded and leads nowhere while `on`: until one has accepted them. */
export const provideGuard = (on: Readonly<Ref<boolean>>): void => provide(key, on);

export const useGuard = (): Readonly<Ref<boolean>> => inject(key, () => ref(false), true);
