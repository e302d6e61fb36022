/*
 * What must change in the official FME SDK for Node so that it answers as docs/deviations.md says:
 * [file, old text, new text]; the old text must be there exactly once. PARITY is in fme_oracle.mjs.
 */
const FLAG = 'api/GetFlag.js';
const CLIENT = 'WingifyClient.js';
const CAMPAIGN = 'utils/CampaignUtil.js';
const DECISION = 'utils/DecisionUtil.js';
const GROUP = 'utils/MegUtil.js';
const HOLDOUT = 'utils/HoldoutUtil.js';
const NETWORK = 'utils/NetworkUtil.js';
const RULE = 'services/CampaignDecisionService.js';
const OPERAND = 'packages/segmentation-evaluator/evaluators/SegmentOperandEvaluator.js';
const SEGMENT = 'packages/segmentation-evaluator/evaluators/SegmentEvaluator.js';

export const EDITS = [
  [SEGMENT, 'this.context?.getIpAddress() === undefined', 'PARITY.lacksAddress(this.context?.getIpAddress())'],
  [SEGMENT, 'if (regex.test(actualValue)) {', 'if (PARITY.matchesDevice(regex, actualValue)) {'],
  // Whom user lists know.
  [
    RULE,
    'const campaignType = campaign.getType();',
    `PARITY.listUser(
            context,
            campaign.getIsUserListEnabled()
                ? PARITY.getUUID(context.getId(), serviceContainer.getSettings().getAccountId())
                : context.getId(),
            'list_of_another_rule',
        );
        const campaignType = campaign.getType();`
  ],
  [
    RULE,
    'export class CampaignDecisionService {',
    `import { getUUID } from '../utils/UuidUtil.js';
PARITY.getUUID = getUUID;
export class CampaignDecisionService {`
  ],
  [
    HOLDOUT,
    'const notMatchedHoldouts = [];',
    `PARITY.listUser(context, context.getId(), 'list_of_a_holdout');
    const notMatchedHoldouts = [];`
  ],
  [
    HOLDOUT,
    '.validateSegmentation(segments, context.getCustomVariables());',
    '.validateSegmentation(segments, PARITY.holdoutVariables(context.getCustomVariables()));'
  ],
  // Groups.
  [
    CAMPAIGN,
    'Object.prototype.hasOwnProperty.call(settings.getCampaignGroups(), campaignToCheck)) {',
    `Object.prototype.hasOwnProperty.call(settings.getCampaignGroups(), campaignToCheck)) {
        if (PARITY.lacksGroup(settings, settings.getCampaignGroups()[campaignToCheck])) {
            return { isMissing: true };
        }`
  ],
  [DECISION, 'const { groupId } = getGroupDetails', 'const { groupId, isMissing } = getGroupDetails'],
  [
    DECISION,
    'const groupWinnerCampaignId = megGroupWinnerCampaigns?.get(groupId);',
    `if (isMissing) {
        return [false, null];
    }
    const groupWinnerCampaignId = megGroupWinnerCampaigns?.get(groupId);`
  ],
  [
    GROUP,
    'if (storedData?.experimentVariationId) {',
    `if (PARITY.isStoredRule(campaign, featureKey, storedData) && PARITY.row('storage_key_form')) {
                eligibleCampaignsWithStorage.push(campaign);
                continue;
            }
            if (storedData?.experimentVariationId && !PARITY.row('storage_key_form')) {`
  ],
  [
    GROUP,
    'isInHoldoutId: matchedHoldouts.map((holdout) => holdout.getId()),',
    `isInHoldoutId: matchedHoldouts.map((holdout) => holdout.getId()),
                notInHoldoutId: PARITY.notIn(storedData),
                ...PARITY.kept(storedData, 'group_holdout_forgets'),`
  ],
  // Who is in a holdout on record.
  [
    FLAG,
    '// evaluate the new holdouts in settings file and send the impression for them',
    `if (PARITY.asksContext(serviceContainer.getSettings(), feature, storedData, getApplicableHoldouts)) {
                            await serviceContainer.getSegmentationManager().setContextualData(serviceContainer, feature, context);
                        }`
  ],
  // Records.
  ['decorators/StorageDecorator.js', 'userId: context.id,', 'userId: PARITY.idText(context.id),'],
  [
    FLAG,
    'storedData?.featureId && isFeatureIdPresentInSettings(serviceContainer.getSettings(), storedData.featureId)',
    `PARITY.knowsFeature(
            storedData,
            storedData?.featureId && isFeatureIdPresentInSettings(serviceContainer.getSettings(), storedData.featureId),
        )`
  ],
  [
    CAMPAIGN,
    'export function getVariationFromCampaignKey(settings, campaignKey, variationId) {',
    `export function getVariationFromCampaignKey(settings, campaignKey, variationId) {
    const found = PARITY.pythonKey(settings, campaignKey, variationId);
    if (found) {
        return new VariationModel().modelFromDictionary(found);
    }`
  ],
  [
    HOLDOUT,
    'context, notInHoldoutId: updatedNotInHoldoutIds }',
    "context, notInHoldoutId: updatedNotInHoldoutIds, ...PARITY.kept(storedData, 'decision_forgotten') }"
  ],
  [
    FLAG,
    'notInHoldoutId: updatedNotInHoldoutIds,',
    "notInHoldoutId: updatedNotInHoldoutIds, ...PARITY.kept(storedData, 'holdout_forgets'),"
  ],
  [
    FLAG,
    'notInHoldoutId: notMatchedHoldouts.map((holdout) => holdout.getId()),',
    `notInHoldoutId: [...PARITY.notIn(storedData), ...notMatchedHoldouts.map((holdout) => holdout.getId())],
                    ...PARITY.kept(storedData, 'holdout_forgets'),`
  ],
  [
    FLAG,
    'notInHoldoutIds.push(...notMatchedHoldouts.map((holdout) => holdout.getId()));',
    `notInHoldoutIds.push(...PARITY.notIn(storedData));
                notInHoldoutIds.push(...notMatchedHoldouts.map((holdout) => holdout.getId()));`
  ],
  [
    FLAG,
    'rolloutKey: storedData.rolloutKey,',
    'rolloutKey: PARITY.campaignKey(serviceContainer.getSettings(), storedData),'
  ],
  // Events.
  [
    FLAG,
    'modelFromDictionary(experimentVariationToReturn ?? rolloutVariationToReturn)',
    'modelFromDictionary(PARITY.whenOff(experimentVariationToReturn ?? rolloutVariationToReturn))'
  ],
  [
    FLAG,
    `sendTrackingUsage(serviceContainer, context, isTrackingUsageEnabled, isDevModeForUser, featureKey); // fire-and-forget
                        deferredObject.resolve(new Flag(false,`,
    `sendTrackingUsage(
                            serviceContainer,
                            context,
                            isTrackingUsageEnabled &&
                                PARITY.sendsUsage(serviceContainer.getSettings(), feature, storedData, getApplicableHoldouts),
                            isDevModeForUser,
                            featureKey,
                        );
                        deferredObject.resolve(new Flag(false,`
  ],
  [
    FLAG,
    `sendTrackingUsage(serviceContainer, context, isTrackingUsageEnabled, isDevModeForUser, featureKey); // fire-and-forget
                        deferredObject.resolve(new Flag(true,`,
    `sendTrackingUsage(
                            serviceContainer,
                            context,
                            isTrackingUsageEnabled &&
                                PARITY.sendsUsage(serviceContainer.getSettings(), feature, storedData, getApplicableHoldouts),
                            isDevModeForUser,
                            featureKey,
                        );
                        deferredObject.resolve(new Flag(true,`
  ],
  [
    FLAG,
    'notInHoldoutIds.push(...updatedNotInHoldoutIds);',
    `notInHoldoutIds.push(...updatedNotInHoldoutIds);
                    if (
                        updatedNotInHoldoutIds.length > (storedData.notInHoldoutId ?? []).length &&
                        PARITY.row('usage_beside_holdouts')
                    ) {
                        isVariationShownFired = true;
                    }`
  ],
  [
    NETWORK,
    `properties.d.event.props.fId = featureId;
    return properties;`,
    `properties.d.event.props.fId = featureId;
    return PARITY.sameVisitor(properties, context);`
  ],
  [NETWORK, 'if (customVariables[key]) {', 'if (PARITY.reports(customVariables, key)) {'],
  [
    NETWORK,
    'for (const prop in eventProperties) {',
    `eventProperties = PARITY.properties(eventProperties);
        for (const prop in eventProperties) {`
  ],
  [NETWORK, 'Object.entries(attributes)', 'Object.entries(PARITY.properties(attributes))'],
  [
    CLIENT,
    `.catch(() => {
                deferredObject.resolve(errorReturnSchema);`,
    `.catch(() => {
                PARITY.hasFailed = true;
                deferredObject.resolve(errorReturnSchema);`
  ],
  // The gateway.
  [OPERAND, 'attribute: attributeValue,', 'attribute: PARITY.quoted(attributeValue),'],
  [
    CLIENT,
    'aliasId = aliasId.trim();',
    "aliasId = typeof aliasId === 'string' ? PARITY.trimmed(aliasId) : aliasId.trim();"
  ],
  [CLIENT, 'contextOrUserId.id = contextOrUserId.id.trim();', 'contextOrUserId.id = PARITY.trimmed(contextOrUserId.id);'],
  [
    CLIENT,
    `await AliasingUtil.setAlias(userId, aliasId, this.serviceContainer);
            return true;`,
    'return PARITY.wasSet(await AliasingUtil.setAlias(userId, aliasId, this.serviceContainer));'
  ],
  // Arguments.
  [CLIENT, 'this.settings.getIsWebConnectivityEnabled() !== false', 'PARITY.hasWebIds(this)'],
  [
    CLIENT,
    'const attributeMap = { [attributeKey]: attributeValue };',
    `const attributeMap = PARITY.checkNames({ [attributeKey]: attributeValue });
                if (PARITY.row('attribute_visitor')) {
                    contextModel._wingify_uuid = this.getUUIDFromContext(contextCopy, apiName);
                }`
  ],
  [CLIENT, 'const attributes = attributeOrAttributes;', 'const attributes = PARITY.checkNames(attributeOrAttributes);']
];
