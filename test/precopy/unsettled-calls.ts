export const never = (): Promise<never> => new Promise(() => undefined);
export const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
