/*
 * What must change in the Node SDK so that it answers as is recommended: [file, old text, new text, how
 * often the old text is there]. Rows are those of docs/deviations.md, sections those of
 * docs/reference.md. PARITY is in oracle.js. row(name) is asked only where the two
 * answers may part, since it also notes that the row was met.
 */
'use strict';

const track = 'api/track.js';
const push = 'api/push.js';
const decision = 'utils/DecisionUtil.js';
const campaign = 'utils/CampaignUtil.js';
const segment = 'utils/SegmentUtil.js';
const impression = 'utils/ImpressionUtil.js';
const bucketing = 'core/BucketingService.js';

module.exports = [
  // Row 2.
  [bucketing, 'Hasher.v3(seed, ', 'Hasher.v3(PARITY.bytes(seed), '],
  [bucketing, 'Hasher.v3(userId, ', 'Hasher.v3(PARITY.bytes(userId), '],
  // Row 6. The third form of the bucket seed names the campaign whatever the flags.
  [
    campaign,
    'if (isNB || isNBv2 || (campaign && campaign.isBucketingSeedEnabled)) {',
    "if (isNB || (campaign && campaign.isBucketingSeedEnabled) || (isNBv2 && !PARITY.row('seed_uses_nbv2'))) {"
  ],
  [
    bucketing,
    "seed = CampaignUtil.getBucketingSeed(accountId + '_' + userId, campaign);",
    'seed = `${campaign.id}_${accountId}_${userId}`;'
  ],
  // Row 36.
  [campaign, 'campaignKeys.forEach(key => {', 'PARITY.unique(campaignKeys).forEach(key => {'],
  // Row 20.
  [
    track,
    'if (areParamsValid === false) {',
    `if (areParamsValid && revenueValue !== null && typeof revenueValue === 'object') {
    areParamsValid = !PARITY.row('revenue_type_checked');
  }
  if (areParamsValid === false) {`
  ],
  // Row 9.
  [
    track,
    'if (vwoInstance.userStorageService === undefined) {',
    "if (vwoInstance.userStorageService === undefined && !PARITY.row('mab_track')) {"
  ],
  [
    track,
    'if (CampaignUtil.isFeatureRolloutCampaign(campaign)) {',
    `if (campaign.isMAB === true && vwoInstance.userStorageService === undefined && PARITY.row('mab_track')) {
    return false;
  }
  if (CampaignUtil.isFeatureRolloutCampaign(campaign)) {`
  ],
  // Row 18.
  [
    track,
    'let payload = ImpressionUtil.getTrackGoalPayloadData(',
    `revenuePropList = PARITY.tracked(revenuePropList, metricMap);
    let payload = ImpressionUtil.getTrackGoalPayloadData(`
  ],
  // Rows 4, 13, 27 and 41.
  [
    track,
    'if (storedGoalIdentifier) {',
    `const hadGoals = !!storedGoalIdentifier;
    if (storedGoalIdentifier) {`
  ],
  [
    track,
    `if (!settingsFile.isEventArchEnabled) {
          DecisionUtil`,
    `if (!settingsFile.isEventArchEnabled || PARITY.row('eventarch_dedupes_goals')) {
          DecisionUtil`
  ],
  [
    track,
    'if (!shouldTrackReturningUser && goal.mca !== -1) {',
    `if (!shouldTrackReturningUser && goal.mca !== -1 && !(goal.hasProps && PARITY.row('hasprops_repeats'))) {
        PARITY.retract();`
  ],
  [
    track,
    `goal
      };
      return true;`,
    `goal
      };
      if (config.userStorageService && result.isStoredVariation && !hadGoals && PARITY.row('eventarch_dedupes_goals')) {
        DecisionUtil._saveUserData(config, campaign, variationName, userId, metaData, goalIdentifier);
      }
      return true;`
  ],
  [
    track,
    `if (!settingsFile.isEventArchEnabled) {
      DecisionUtil`,
    `if (
      (!settingsFile.isEventArchEnabled ||
        (config.userStorageService &&
          result.isStoredVariation &&
          !hadGoals &&
          PARITY.row('eventarch_dedupes_goals'))) &&
      !PARITY.skipsWrite(config, result, hadGoals)
    ) {
      DecisionUtil`
  ],
  [
    decision,
    `return {
        variation: whitelistedVariation,`,
    `return {
        isWhitelisted: true,
        variation: whitelistedVariation,`
  ],
  // Row 51.
  [
    track,
    `revenueValue,
          visitorUserAgent,
          userIpAddress
        );
      } else {`,
    `revenueValue,
          ...((visitorUserAgent || userIpAddress) && PARITY.row('batch_agent_fields') ? [eventProperties] : []),
          visitorUserAgent,
          userIpAddress
        );
      } else {`
  ],
  // Row 17. An empty mapping gives nothing to use.
  [
    decision,
    'let data = config.userStorageService.get(userId, campaignKey) || {};',
    `if (userStorageData && Object.keys(userStorageData).length && PARITY.row('user_storage_data')) {
          return userStorageData;
        }
        let data = config.userStorageService.get(userId, campaignKey) || {};`
  ],
  // Row 28.
  [
    decision,
    'userData = DecisionUtil._getStoredUserData(config, userId, campaignKey, userStorageData, !decision);',
    `userData = DecisionUtil._getStoredUserData(config, userId, campaignKey, userStorageData, !decision);
      if (userData === undefined && PARITY.row('storage_get_error_raises')) {
        userData = {};
      }`
  ],
  // Rows 39 and 48.
  [
    decision,
    'let { variationName, goalIdentifier } = userData;',
    `userData = PARITY.stored(userData, campaignKey);
    let { variationName, goalIdentifier } = userData;`
  ],
  // Section 7: a campaign of a group that is not there has no variation, and harms no other.
  [
    decision,
    'const { groupId, groupName } = CampaignUtil.isPartOfGroup(settingsFile, campaign.id);',
    `if (PARITY.lacksGroup(settingsFile, campaign)) {
      return {};
    }
    const { groupId, groupName } = CampaignUtil.isPartOfGroup(settingsFile, campaign.id);`
  ],
  // Row 43.
  [
    decision,
    `groupCampaign.key,
        userId,
        variationTargetingVariables
      );`,
    `groupCampaign.key,
        userId,
        PARITY.member(
          variationTargetingVariables,
          groupCampaign.isUserListEnabled ? UuidUtil.generateFor(userId, settingsFile.accountId) : userId,
          groupCampaign
        )
      );`
  ],
  [
    decision,
    'if (eligibleCampaigns.length === 1) {',
    `if (
        eligibleCampaigns.length === 1 &&
        eligibleCampaigns[0].id !== campaign.id &&
        PARITY.row('meg_single_foreign_wins')
      ) {
        return {};
      }
      if (eligibleCampaigns.length === 1) {`
  ],
  // Row 46.
  [
    decision,
    `let winnerCampaign = BucketingService._getVariation(
      shortlistedCampaigns,
      BucketingService.calculateBucketValue(CampaignUtil.getBucketingSeed(userId, undefined, groupId))
    );`,
    `let winnerCampaign = BucketingService._getVariation(
      shortlistedCampaigns,
      BucketingService.calculateBucketValue(CampaignUtil.getBucketingSeed(userId, undefined, groupId))
    );
    if (!winnerCampaign && PARITY.row('meg_no_winner_raises_equal')) {
      return {};
    }`
  ],
  // Rows 30 and 53; section 13: no call without a variation.
  [
    'services/HooksManager.js',
    'this.callback(properties);',
    `try {
        this.callback(properties);
      } catch (error) {
        if (!PARITY.row('hook_error_raises')) {
          throw error;
        }
      }`
  ],
  [
    decision,
    `// Executing the callback when SDK makes the decision
    HooksManager`,
    `// Executing the callback when SDK makes the decision
    if (variationName || !PARITY.row('hook_no_variation')) HooksManager`
  ],
  [
    decision,
    `: {
              variationName,
              variationId
            },`,
    ': PARITY.hook(campaign, variation && variation.variation, { variationName, variationId }),'
  ],
  [
    decision,
    `: {
                    variationName,
                    variationId
                  },`,
    ': PARITY.hook(campaign, whitelistingResult.variation, { variationName, variationId }),'
  ],
  [
    decision,
    `: {
                  variationName,
                  variationId
                },`,
    ': PARITY.hook(campaign, storedVariation, { variationName, variationId }),'
  ],
  // Row 33.
  [
    segment,
    'if (!customVariables.hasOwnProperty(key)) {',
    `if (customVariables[key] === null && PARITY.row('null_value')) {
    return false;
  }
  if (!customVariables.hasOwnProperty(key)) {`
  ],
  // Rows 22, 24 and 29.
  [
    segment,
    'function processValues(operandValue, tagValue) {',
    `function processValues(operandValue, tagValue) {
  return PARITY.numbers(operandValue, tagValue, stockProcessValues(operandValue, tagValue));
}

function stockProcessValues(operandValue, tagValue) {`
  ],
  [segment, 'parseFloat(operandValue) < parseFloat(tagValue)', 'PARITY.float(operandValue) < PARITY.float(tagValue)'],
  [segment, 'parseFloat(operandValue) <= parseFloat(tagValue)', 'PARITY.float(operandValue) <= PARITY.float(tagValue)'],
  [segment, 'parseFloat(operandValue) > parseFloat(tagValue)', 'PARITY.float(operandValue) > PARITY.float(tagValue)'],
  [segment, 'parseFloat(operandValue) >= parseFloat(tagValue)', 'PARITY.float(operandValue) >= PARITY.float(tagValue)'],
  [
    segment,
    `operandType = EQUAL_VALUE;
    operandValue = operand;`,
    `operandType = EQUAL_VALUE;
    operandValue = operand;
    const comparison = PARITY.comparison(operand);
    if (comparison) {
      const types = {
        gt: GREATER_THAN_VALUE,
        gte: GREATER_THAN_EQUAL_TO_VALUE,
        lt: LESS_THAN_VALUE,
        lte: LESS_THAN_EQUAL_TO_VALUE
      };
      operandType = types[comparison.operandType];
      operandValue = comparison.operandValue;
    }`
  ],
  // Row 34.
  [
    segment,
    'result = !!pattern.test(tagValue);',
    'result = PARITY.search(operandValue, tagValue, !!pattern.test(tagValue));'
  ],
  [
    segment,
    `} catch (err) {
        result = false;
      }
      break;
    case GREATER_THAN_VALUE:`,
    `} catch (err) {
        result = PARITY.search(operandValue, tagValue, false);
      }
      break;
    case GREATER_THAN_VALUE:`
  ],
  // Row 42.
  [
    'core/SegmentEvaluator.js',
    `let list = [];
    for (let i = 0; i < subDsl.length; i++) {
      list.push(evaluator(subDsl[i], customVariables));
    }

    return list.every(`,
    `let list = PARITY.children(subDsl, value => !value, child => evaluator(child, customVariables));
    return list.every(`
  ],
  [
    'core/SegmentEvaluator.js',
    `let list = [];
    for (let i = 0; i < subDsl.length; i++) {
      list.push(evaluator(subDsl[i], customVariables));
    }

    return list.some(`,
    `let list = PARITY.children(subDsl, value => value, child => evaluator(child, customVariables));
    return list.some(`
  ],
  // Section 9: a variation that is off shows its control's variables, whether or not it has its own.
  [
    'utils/FeatureUtil.js',
    'if (!variation || !variation || !variation.variables) {',
    `if (variation && !variation.isFeatureEnabled && !variation.variables && PARITY.row('feature_no_variables')) {
        variation = CampaignUtil.getControlForCampaign(campaign);
      }
      if (!variation || !variation || !variation.variables) {`
  ],
  // Section 15.6.
  [
    'utils/FunctionUtil.js',
    "queryParams += prop + '=' + properties[prop] + '&';",
    'queryParams += PARITY.pair(prop, properties[prop]);'
  ],
  // Row 52.
  [
    impression,
    `u: {
        [encodeURIComponent(tagKey)]: encodeURIComponent(tagValue)
      }
    });`,
    `u: {
        [encodeURIComponent(tagKey)]: encodeURIComponent(tagValue)
      }
    });
    properties.tags = PARITY.tags(tagKey, tagValue, properties.tags);`
  ],
  // Section 14: a blank is a key or value like any other.
  [
    push,
    "if (tagKey === ' ' && tagValue === ' ' && (!customDimensionMap || Object.keys(customDimensionMap).length === 0)) {",
    `if (isPair && (tagKey === ' ' || tagValue === ' ') && PARITY.row('push_blank')) {
    customDimensionMap[tagKey] = tagValue;
  } else if (tagKey === ' ' && tagValue === ' ' && (!customDimensionMap || Object.keys(customDimensionMap).length === 0)) {`
  ],
  [
    push,
    'const api = ApiEnum.PUSH;',
    `const api = ApiEnum.PUSH;
  const isPair = responseCallback !== 'map';`
  ],
  [
    'VWO.js',
    'return api.push(self, tagKey, tagValue, userId, customDimensionMap);',
    "return api.push(self, tagKey, tagValue, userId, customDimensionMap, arguments.length === 2 ? { responseCallback: 'map' } : {});"
  ]
];
